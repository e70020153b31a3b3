"""Named network namespaces (ip-netns(8)), entered by one thread at a time without a fork.

A socket stays in the namespace that it was opened in, so entering is needed only while sockets are opened.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from pyroute2 import netns

from haqn.exceptions import HostError

DIRECTORY = Path("/run/netns")
_CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def _setns(file: int, name: str) -> None:
    if _libc.setns(file, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise HostError(f"cannot enter network namespace {name}: {os.strerror(code)}")


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """Run the calling thread in namespace `name`. Raises HostError when there is no such namespace."""
    try:
        target = os.open(DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"cannot enter network namespace {name}: {error.strerror}") from error
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(target, name)
        try:
            yield
        finally:
            _setns(home, "of this process")
    finally:
        os.close(target)
        os.close(home)


def names() -> set[str]:
    """The named namespaces of this host."""
    return set(netns.listnetns(str(DIRECTORY)))


def create(name: str) -> None:
    """Make the namespace; one that exists is left as it is."""
    try:
        netns.create(name)
    except FileExistsError:
        pass
    except OSError as error:
        raise HostError(f"cannot create network namespace {name}: {error.strerror}") from error


def remove(name: str) -> None:
    """Remove the namespace and all devices in it; one that is not there is no error."""
    try:
        netns.remove(name)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise HostError(f"cannot remove network namespace {name}: {error.strerror}") from error
    (DIRECTORY / name).unlink(missing_ok=True)


def set_sysctls(values: dict[str, str]) -> None:
    """Write `net.*` parameters of the namespace that this thread is in; names as sysctl(8) has them, with slashes."""
    for parameter, value in values.items():
        path = Path("/proc/sys") / parameter
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except OSError as error:
            raise HostError(f"cannot set {parameter} to {value}: {error.strerror}") from error
