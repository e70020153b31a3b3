"""Named network namespaces (ip-netns(8)), made and entered by the calling thread alone.

Without a fork, which a process with gRPC threads must not do, and which costs milliseconds. A socket stays in the
namespace that it was opened in, so entering is needed only while sockets are opened.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from haqn.exceptions import HostError

DIRECTORY = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 1 << 12, 1 << 14, 1 << 20
_MNT_DETACH = 2
_OWN = b"/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)
_sharing = threading.Lock()


def _must(result: int, what: str) -> None:
    if result:
        raise HostError(f"cannot {what}: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def _returning() -> Iterator[None]:
    """Bring the thread back to the namespace that it is in now."""
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _must(_libc.setns(home, _CLONE_NEWNET), "return to the network namespace of this process")
        os.close(home)


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """Run the calling thread in namespace `name`. Raises HostError when there is no such namespace."""
    try:
        target = os.open(DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"cannot enter network namespace {name}: {error.strerror}") from error
    try:
        with _returning():
            _must(_libc.setns(target, _CLONE_NEWNET), f"enter network namespace {name}")
            yield
    finally:
        os.close(target)


def names() -> set[str]:
    """The named namespaces of this host."""
    return set(os.listdir(DIRECTORY)) if DIRECTORY.is_dir() else set()


def exists(name: str) -> bool:
    """Whether there is a namespace of that name; a name without one behind it, left by a crash, does not count."""
    return os.path.ismount(DIRECTORY / name)


def create(name: str) -> None:
    """Make the namespace. Raises HostError when it cannot be, or is there already."""
    _share_directory()
    path = DIRECTORY / name
    path.touch(mode=0o444)
    with _returning():
        _must(_libc.unshare(_CLONE_NEWNET), f"create network namespace {name}")
        _must(_libc.mount(_OWN, os.fsencode(path), b"none", _MS_BIND, None), f"name network namespace {name}")


def _share_directory() -> None:
    """The directory as ip-netns(8) makes it: a mount of its own, whose changes all mount namespaces see. Were it made
    so after the first of ours, that one could not be removed any more."""
    DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = os.fsencode(DIRECTORY)
    with _sharing:
        # not ismount(3): the directory is bound to itself, so that its device is its parent's
        is_mount = _mount_id(DIRECTORY) != _mount_id(DIRECTORY.parent)
        for flags in () if is_mount else (_MS_BIND | _MS_REC, _MS_SHARED | _MS_REC):
            _must(_libc.mount(path, path, b"none", flags, None), f"make {DIRECTORY} a mount of its own")


def _mount_id(path: Path) -> str:
    """Which mount the path is in (proc(5), /proc/pid/fdinfo)."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        lines = Path(f"/proc/thread-self/fdinfo/{descriptor}").read_text().splitlines()
    finally:
        os.close(descriptor)
    return next(line for line in lines if line.startswith("mnt_id:"))


def remove(name: str) -> None:
    """Remove the namespace and all devices in it; one that is not there is no error."""
    path = DIRECTORY / name
    while os.path.ismount(path):
        _must(_libc.umount2(os.fsencode(path), _MNT_DETACH), f"remove network namespace {name}")
    path.unlink(missing_ok=True)


def set_sysctls(values: dict[str, str]) -> list[str]:
    """Write `net.*` parameters of the namespace that this thread is in where they differ; names as sysctl(8) has them,
    with slashes. Returns what was changed."""
    changed = []
    for parameter, value in values.items():
        try:
            if _set_sysctl(f"/proc/sys/{parameter}", value.encode()):
                changed.append(f"set {parameter} to {value}")
        except OSError as error:
            raise HostError(f"cannot set {parameter} to {value}: {error.strerror}") from error
    return changed


def _set_sysctl(path: str, value: bytes) -> bool:
    """By system calls: a router has twenty of these, and Python's files cost more than the kernel's."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if os.read(descriptor, 64).strip() == value:
            return False
        os.pwrite(descriptor, value, 0)
        return True
    finally:
        os.close(descriptor)
