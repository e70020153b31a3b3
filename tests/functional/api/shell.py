"""The `openstack` command line, many commands in one process: starting it takes longer than most commands.

As a program it reads command lines from stdin (JSON, one a line) and answers each with [status, stdout, stderr].
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping


class Shell:
    """`shell.ok("network list")`: what the command prints as JSON; `shell.fails(...)`: what it complains of."""

    def __init__(self, url: str = "", environment: Mapping[str, str] | None = None) -> None:
        """`url` is that of the API, without Keystone; with one, `environment` has the variables that name it."""
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.functional.api.shell", url],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        status, out, error = json.loads(self._process.stdout.readline())
        return status, out, error

    def do(self, command: str) -> None:
        """A command that prints nothing."""
        status, _, error = self.run(*shlex.split(command))
        assert status == 0, error

    def ok(self, command: str):
        """A command that prints something."""
        status, out, error = self.run(*shlex.split(command), "-f", "json")
        assert status == 0, error
        return json.loads(out)

    def fails(self, command: str) -> str:
        status, out, error = self.run(*shlex.split(command))
        assert status != 0, out
        return error

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


def _serve(url: str) -> None:
    from openstackclient import shell  # noqa: PLC0415 slow to import, and the tests' own process has no use for it

    for line in sys.stdin:
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            options = ["--os-auth-type", "none", "--os-endpoint", url] if url else []
            status = shell.main([*options, *json.loads(line)])
        print(json.dumps([status, out.getvalue(), error.getvalue()]), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
