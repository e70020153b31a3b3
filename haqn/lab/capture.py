"""Frames seen at a host's port of the switch, so that a test can say what a host did not send.

VXLAN is looked into: a frame within a tunnel counts by its inner addresses, too.
"""

from __future__ import annotations

import ipaddress
import re
import signal
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from haqn.exceptions import HostError
from haqn.lab import processes
from haqn.lab.cluster import Lab
from haqn.lab.command import run
from haqn.lab.spec import switch_port

#: pcap-savefile(5), written by this machine: little endian, microseconds
_FILE_HEADER = 24
_PACKET_HEADER = struct.Struct("<IIII")
_ETHERNET = 14
_IPV4 = b"\x08\x00"
_UDP = 17
#: IANA's port of VXLAN, and the one that Linux used before there was one
_VXLAN_PORTS = (4789, 8472)
_UDP_AND_VXLAN = 16
_ARP, _IPV6 = b"\x08\x06", b"\x86\xdd"
_ICMPV6, _NEIGHBOUR_ADVERTISEMENT, _SOLICITED = 58, 136, 0x40
_STOP_TIMEOUT = 10.0
#: octets of a frame that are kept; and KiB that the kernel holds for tcpdump, which may get no processor for a while:
#: it holds room for whole frames of 256 KiB otherwise, a handful of them
_KEPT = 1024
_HELD = 16384
_LOST = re.compile(r"^(\d+) packets? dropped by kernel$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Frame:
    """An Ethernet frame. Time is in seconds of the wall clock; `inner` are (source, destination) within VXLAN."""

    time: float
    source: str
    destination: str
    inner: tuple[str, str] | None
    data: bytes

    @property
    def sources(self) -> set[str]:
        """MAC addresses that sent it: its own, and that of the frame within."""
        return {self.source, self.inner[0]} if self.inner else {self.source}

    @property
    def announced(self) -> tuple[str, str] | None:
        """(MAC, IP address) that a gratuitous ARP (RFC 5227) or an unsolicited neighbour advertisement (RFC 4861) tells
        of, itself or within VXLAN; None if it is neither."""
        return _announced(self.data[_start_of_inner(self.data) or 0 :])


class Capture:
    """Records frames that the host sends (`in` to the switch), that go to it (`out`), or both, on one of its links.

    `only` is a filter expression (pcap-filter(7)): what need not be seen need not be written.
    """

    def __init__(self, lab: Lab, host: str, link: str, *, direction: str = "in", only: str = "") -> None:
        lab.host(host)
        port = switch_port(host, link)
        self._file = lab.work_dir / f"capture-{port}-{direction}.pcap"
        self._process = subprocess.Popen(
            lab.switch.enter(
                [
                    *("tcpdump", "--interface", port, "--direction", direction, "-n", "--packet-buffered"),
                    *("--immediate-mode", "--snapshot-length", str(_KEPT), "--buffer-size", str(_HELD)),
                    *("--relinquish-privileges=root", "-w", str(self._file), *only.split()),
                ]
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # Ctrl-C must not end it before it is asked for its result
            start_new_session=True,
        )
        # tcpdump says that it listens once it does
        said = self._process.stderr.readline() if self._process.stderr else ""
        if "listening on" not in said:
            _, rest = self._process.communicate(timeout=_STOP_TIMEOUT)
            raise HostError(f"cannot capture on {port}: {said}{rest}")
        self._switch = lab.switch

    @property
    def has_frames(self) -> bool:
        """Whether a frame has been seen so far."""
        return self._file.exists() and self._file.stat().st_size > _FILE_HEADER

    def stop(self) -> list[Frame]:
        """End it; the frames in the order in which they came, up to 1 KiB of each. HostError if some went unseen."""
        if self._process.returncode is None:
            own = [process for process in self._switch.processes() if process.parent == self._process.pid]
            processes.send(own, signal.SIGINT)
            _, said = self._process.communicate(timeout=_STOP_TIMEOUT)
            lost = _LOST.search(said)
            if lost is None or int(lost[1]):
                raise HostError(f"cannot capture all frames in {self._file.name}: {said.strip()}")
        return list(_frames(self._file))

    def frames(self) -> list[Frame]:
        """Those that have come so far."""
        return list(_frames(self._file))

    def text(self) -> str:
        """The frames as tcpdump prints them; for people, after `stop`."""
        return run(["tcpdump", "-e", "-n", "-tttt", "-r", str(self._file)]).stdout

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _frames(file: Path) -> Iterator[Frame]:
    content = file.read_bytes()
    offset = _FILE_HEADER
    # the last one may be half written
    while offset + _PACKET_HEADER.size <= len(content):
        seconds, microseconds, captured, _ = _PACKET_HEADER.unpack_from(content, offset)
        offset += _PACKET_HEADER.size
        if offset + captured > len(content):
            return
        yield parse(content[offset : offset + captured], seconds + microseconds / 1e6)
        offset += captured


def parse(data: bytes, time: float = 0.0) -> Frame:
    """The addresses of one frame, and of the frame within it if it is IPv4 VXLAN."""
    return Frame(time, mac(data[6:12]), mac(data[0:6]), _inner(data), data)


def mac(data: bytes) -> str:
    """Six octets in the form that every tool prints."""
    return data.hex(":")


def _inner(data: bytes) -> tuple[str, str] | None:
    start = _start_of_inner(data)
    return None if start is None else (mac(data[start + 6 : start + 12]), mac(data[start : start + 6]))


def _announced(data: bytes) -> tuple[str, str] | None:
    kind = data[12:14]
    if kind == _ARP and len(data) >= _ETHERNET + 28 and data[28:32] == data[38:42]:
        return mac(data[22:28]), str(ipaddress.ip_address(data[28:32]))
    if kind == _IPV6 and len(data) >= _ETHERNET + 64 and data[20] == _ICMPV6:
        message = data[_ETHERNET + 40 :]
        if message[0] == _NEIGHBOUR_ADVERTISEMENT and not message[4] & _SOLICITED:
            return mac(data[6:12]), str(ipaddress.ip_address(message[8:24]))
    return None


def _start_of_inner(data: bytes) -> int | None:
    if data[12:14] != _IPV4 or len(data) < _ETHERNET + 20 or data[_ETHERNET + 9] != _UDP:
        return None
    udp = _ETHERNET + (data[_ETHERNET] & 0x0F) * 4
    inner = udp + _UDP_AND_VXLAN
    if int.from_bytes(data[udp + 2 : udp + 4], "big") not in _VXLAN_PORTS or len(data) < inner + _ETHERNET:
        return None
    return inner
