"""Runs a test in network and mount namespaces of its own, which the kernel removes when it ends, however it ends."""

import ctypes
import functools
import subprocess
import threading
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def isolated(test: Callable[P, None]) -> Callable[P, None]:
    """Decorate a test: /run and /sys are its own, too; devices `lo` and nothing else."""

    @functools.wraps(test)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        failure: list[BaseException] = []

        def body() -> None:
            try:
                # only this thread moves; threads and programs that it starts come along
                if _libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "cannot unshare namespaces")
                for command in (
                    ["mount", "--make-rprivate", "/"],
                    ["mount", "-t", "tmpfs", "tmpfs", "/run"],
                    ["mount", "-t", "sysfs", "sysfs", "/sys"],
                    ["ip", "link", "set", "lo", "up"],
                ):
                    subprocess.run(command, check=True)
                test(*args, **kwargs)
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if failure:
            raise failure[0]

    return wrapper
