"""Refusals at the door: who was just told to wait is told so again before the request is parsed or given a thread.

What a flood costs others is mostly what the web server does for each request, whatever becomes of it. Knows the bytes
of requests, and whom the limits (`haqn.api.limits`) refuse and until when; it decides nothing by itself. What it does
not know, or not understand to the last byte, takes the long way and gets the same answer there.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Callable
from wsgiref.types import WSGIEnvironment

from haqn.api import limits, requestid
from haqn.api.requestid import ExcInfo
from haqn.clock import Clock, SystemClock

#: WSGI's variable: where a request comes from.
_ADDRESS = "REMOTE_ADDR"
#: Of those who are shut out at the same time; of more, the rest takes the long way.
_MOST = 1000
#: No escapes and no options of the connection: paths and framing mean here what they mean to the web server.
_HEAD = re.compile(rb"(GET|POST|PUT|DELETE) (/[!-$&-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[\t -~]*\r\n)+)\r\n")
_NOT_PLAIN = frozenset({"transfer-encoding", "expect", "upgrade", "te", "trailer"})


class Door:
    """One worker's. Told by its threads, asked by the one that waits for requests."""

    def __init__(
        self,
        credential: str,
        count: Callable[[str], None],
        *,
        by_address: bool = True,
        clock: Clock | None = None,
    ) -> None:
        """`credential`: WSGI's variable of the header that tells who asks; `count` is told the method of each refusal.

        `by_address`: whether the connection's other end is the client, and not a proxy.
        """
        self._credential = credential
        self._header = credential.removeprefix("HTTP_").replace("_", "-").lower()
        self._count = count
        self._by_address = by_address
        self._clock: Clock = clock or SystemClock()
        #: by the variable and its value: until when; monotonic seconds
        self._shut: dict[tuple[str, str], float] = {}

    def shut_address(self, environ: WSGIEnvironment, seconds: float) -> None:
        """Who asks from there is refused for so long, because there will be no token before."""
        if self._by_address:
            self._shut_out(_ADDRESS, environ, seconds)

    def shut_credential(self, environ: WSGIEnvironment, seconds: float) -> None:
        """The same of who shows this credential, which was found to be of a project that is over its limit."""
        self._shut_out(self._credential, environ, seconds)

    def _shut_out(self, variable: str, environ: WSGIEnvironment, seconds: float) -> None:
        now = self._clock.monotonic()
        if len(self._shut) >= _MOST:
            for known, until in list(self._shut.items()):
                if until <= now:
                    self._shut.pop(known, None)
        value = environ.get(variable, "")
        if value and len(self._shut) < _MOST:
            self._shut[variable, value] = now + seconds

    @property
    def is_open(self) -> bool:
        """Whether nobody is refused here, so that nobody need be looked at."""
        return not self._shut

    def refusal(self, received: bytes, address: str) -> bytes | None:
        """The answer to what came from there, if it is one whole request of somebody who is refused."""
        found = _HEAD.match(received)
        if found is None:
            return None
        method, target, lines = (part.decode("ascii") for part in found.groups())
        pairs = [line.split(":", 1) for line in lines.splitlines()]
        headers = {name.lower(): value.strip(" \t") for name, value in pairs}
        if len(headers) < len(pairs) or headers.keys() & _NOT_PLAIN:
            return None
        if headers.get("connection", "keep-alive").lower() != "keep-alive":
            return None
        if headers.get("content-length", "0") != str(len(received) - found.end()):
            return None
        wait = max(self._wait(_ADDRESS, address), self._wait(self._credential, headers.get(self._header, "")))
        if wait <= 0 or limits.is_exempt(method, target.partition("?")[0]):
            return None
        self._count(method)
        return _answer(wait)

    def _wait(self, variable: str, value: str) -> float:
        until = self._shut.get((variable, value))
        if until is None:
            return 0.0
        wait = until - self._clock.monotonic()
        if wait <= 0:
            self._shut.pop((variable, value), None)
        return wait


def _answer(wait: float) -> bytes:
    told = [("Date", email.utils.formatdate(usegmt=True)), ("Connection", "keep-alive")]
    statuses: list[str] = []

    def start(
        status: str, headers: list[tuple[str, str]], _exc_info: ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        statuses.append(status)
        told.extend([*headers, (requestid.HEADER, requestid.new())])
        return bytes

    body = b"".join(limits.too_many(start, wait))
    lines = [f"HTTP/1.1 {statuses[0]}", *(f"{name}: {value}" for name, value in told)]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
