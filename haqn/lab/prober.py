"""The program that pings from within a namespace: many targets, one raw socket an IP version, a fixed interval.

Runs alone: standard library only. Says `ready` once it sends, goes on until its standard input ends
(so that it never outlives who started it), then prints what it saw as JSON:
`{"targets": {address: [[sent, received or null], ...]}}` in milliseconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import socket
import struct
import sys
import time

#: RFC 792: echo and echo reply; RFC 1071 has the checksum.
_ECHO_REQUEST = 8
_ECHO_REPLY = 0
#: RFC 4443
_ECHO_REQUEST_6, _ECHO_REPLY_6 = 128, 129
_HEADER = struct.Struct("!BBHHH")
#: include/linux/socket.h; Python has no name for it
_SOL_RAW = 255
#: linux/icmp.h, linux/icmpv6.h: a mask of the types that a raw socket does not want
_ICMP_FILTER = 1
#: how long to listen for answers once the last echo is sent, in seconds
_LINGER = 0.2
_MAX_BURST = 512


def checksum(data: bytes) -> int:
    """The internet checksum of an even number of octets."""
    words: tuple[int, ...] = struct.unpack(f"!{len(data) // 2}H", data)
    total = sum(words)
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


class Version4:
    """ICMP. The answers come with their IPv4 headers."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.socket.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("I", ~(1 << _ECHO_REPLY) & 0xFFFFFFFF))

    @staticmethod
    def request(identifier: int, sequence: int) -> bytes:
        empty = _HEADER.pack(_ECHO_REQUEST, 0, 0, identifier, sequence)
        return _HEADER.pack(_ECHO_REQUEST, 0, checksum(empty), identifier, sequence)

    @staticmethod
    def reply(data: bytes) -> tuple[int, int] | None:
        """(identifier, sequence number) of an answer."""
        return _echo(data[(data[0] & 0x0F) * 4 :], _ECHO_REPLY)


class Version6:
    """ICMPv6 (RFC 4443). The kernel knows the checksum, and keeps the headers."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        blocked = bytearray(b"\xff" * 32)
        blocked[_ECHO_REPLY_6 // 8] &= ~(1 << _ECHO_REPLY_6 % 8) & 0xFF
        self.socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMP_FILTER, bytes(blocked))

    @staticmethod
    def request(identifier: int, sequence: int) -> bytes:
        return _HEADER.pack(_ECHO_REQUEST_6, 0, 0, identifier, sequence)

    @staticmethod
    def reply(data: bytes) -> tuple[int, int] | None:
        """(identifier, sequence number) of an answer."""
        return _echo(data, _ECHO_REPLY_6)


def _echo(message: bytes, expected: int) -> tuple[int, int] | None:
    if len(message) < _HEADER.size:
        return None
    kind, _, _, identifier, sequence = _HEADER.unpack(message[: _HEADER.size])
    return (identifier, sequence) if kind == expected else None


class Pinger:
    """Echo requests to all targets, each round with one sequence number, and the answers to them."""

    def __init__(self, targets: list[str]) -> None:
        self._versions = {target: ":" in target for target in targets}
        self._kinds: dict[bool, Version4 | Version6] = {
            is_6: Version6() if is_6 else Version4() for is_6 in sorted(set(self._versions.values()))
        }
        for kind in self._kinds.values():
            kind.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            kind.socket.setblocking(False)
        self._identifier = os.getpid() & 0xFFFF
        self._sent: dict[str, list[float]] = {target: [] for target in targets}
        self._received: dict[str, list[float | None]] = {target: [] for target in targets}
        self._round = 0

    @property
    def sockets(self) -> list[socket.socket]:
        """What becomes readable when an answer has come."""
        return [kind.socket for kind in self._kinds.values()]

    def send_round(self) -> None:
        """One echo to each target. What cannot be sent now counts as sent and unanswered."""
        sequence = self._round & 0xFFFF
        packets = {is_6: kind.request(self._identifier, sequence) for is_6, kind in self._kinds.items()}
        for target, sent in self._sent.items():
            is_6 = self._versions[target]
            sent.append(_now())
            self._received[target].append(None)
            # no route or no neighbour: the very thing that is measured
            with contextlib.suppress(OSError):
                self._kinds[is_6].socket.sendto(packets[is_6], (target, 0))
        self._round += 1

    def receive(self) -> None:
        """Take what has arrived."""
        for kind in self._kinds.values():
            self._receive(kind)

    def _receive(self, kind: Version4 | Version6) -> None:
        for _ in range(_MAX_BURST):
            try:
                data, (source, *_) = kind.socket.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                # an ICMP error about an earlier echo
                continue
            self._note(kind.reply(data), source, _now())

    def result(self) -> dict[str, list[tuple[float, float | None]]]:
        return {target: list(zip(sent, self._received[target], strict=True)) for target, sent in self._sent.items()}

    def _note(self, reply: tuple[int, int] | None, source: str, now: float) -> None:
        received = self._received.get(source)
        if received is None or reply is None:
            return
        identifier, sequence = reply
        # the sequence number has 16 bits: the latest round that has these
        index = self._round - 1 - ((self._round - 1 - sequence) & 0xFFFF)
        if identifier == self._identifier and index >= 0 and received[index] is None:
            received[index] = now


def main() -> int:
    """Ping until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interval-ms", type=float, default=5.0)
    parser.add_argument("targets", nargs="+")
    options = parser.parse_args()
    with contextlib.suppress(PermissionError):
        os.nice(-10)  # a prober that waits for the processor would measure itself
    interval = options.interval_ms / 1000
    pinger = Pinger(options.targets)
    selector = selectors.DefaultSelector()
    for one in pinger.sockets:
        selector.register(one, selectors.EVENT_READ, "answers")
    selector.register(sys.stdin, selectors.EVENT_READ, "stop")
    print("ready", flush=True)
    due = time.monotonic()
    stop_at = float("inf")
    while (now := time.monotonic()) < stop_at + _LINGER:
        if now >= due and stop_at == float("inf"):
            pinger.send_round()
            # rounds that were missed are not made up for: that would be a flood
            due = max(due + interval, now)
        for key, _ in selector.select(max(0.0, min(due - time.monotonic(), interval))):
            if key.data == "answers":
                pinger.receive()
            elif not os.read(sys.stdin.fileno(), 4096):
                selector.unregister(sys.stdin)
                stop_at = time.monotonic()
                due = stop_at + _LINGER
    # json.dump writes each number by itself, which takes long after ten minutes
    sys.stdout.write(json.dumps({"targets": pinger.result()}))
    return 0


def _now() -> float:
    return round(time.monotonic() * 1000, 3)


if __name__ == "__main__":
    sys.exit(main())
