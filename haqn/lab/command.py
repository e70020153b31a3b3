"""Running other programs. Argument lists only: nothing in the lab goes through a shell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from haqn.exceptions import HostError

DEFAULT_TIMEOUT = 60.0


def environment() -> dict[str, str]:
    """This process's environment without proxies: there is no way to one from within a lab, nor need of one."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def run(
    arguments: Sequence[str], *, text: str | None = None, check: bool = True, timeout: float = DEFAULT_TIMEOUT
) -> subprocess.CompletedProcess[str]:
    """Run to the end, with `text` as its input; HostError (with what was tried and its answer) if it fails."""
    try:
        done = subprocess.run(
            list(arguments),
            input=text or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=environment(),
            # Ctrl-C is for this process alone, which then decides what has to end
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"cannot run {' '.join(arguments)}: {error}") from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise HostError(f"cannot run {' '.join(arguments)}: exit code {done.returncode}: {said}")
    return done


def detach(arguments: Sequence[str]) -> None:
    """Start a program that outlives this one, in a session of its own, with no input and no output."""
    done = subprocess.run(
        ["setsid", "--fork", *arguments],  # noqa: S607 - found by PATH, like every tool of Debian here
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        env=environment(),
    )
    if done.returncode != 0:
        raise HostError(f"cannot start {' '.join(arguments)}: exit code {done.returncode}")
