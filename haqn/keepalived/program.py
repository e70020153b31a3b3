"""Puts a copy of the failover program where keepalived finds it, out of the way of upgrades of the package.

The copy lies in a directory named by its digest; the link `failover` is switched to it atomically. The version before
stays until the agent starts again: a check that keepalived has just started may still have modules to load from it.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import haqn.failover

ENTRY = "failover/haqn/failover/run.py"


def _sources() -> dict[str, bytes]:
    folder = Path(haqn.failover.__file__).parent
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}


def install(run_path: Path) -> Path:
    """Install this version below `run_path`; returns the path of its entry point, the same for all versions."""
    sources = _sources()
    digest = hashlib.blake2b(repr(sorted(sources.items())).encode(), digest_size=8).hexdigest()
    target = run_path / f"failover-{digest}"
    if not target.exists():
        unfinished = run_path / f".failover-{digest}"
        shutil.rmtree(unfinished, ignore_errors=True)
        package = unfinished / "haqn" / "failover"
        package.mkdir(parents=True)
        (unfinished / "haqn" / "__init__.py").touch()
        for name, content in sources.items():
            (package / name).write_bytes(content)
        unfinished.replace(target)
    link, new_link = run_path / "failover", run_path / ".failover"
    in_use = {target.name, link.readlink().name if link.is_symlink() else ""}
    new_link.unlink(missing_ok=True)
    new_link.symlink_to(target.name)
    new_link.replace(link)
    for other in run_path.glob("failover-*"):
        if other.name not in in_use:
            shutil.rmtree(other, ignore_errors=True)
    return run_path / ENTRY
