"""One question to a neighbour beyond an interface: ARP (RFC 826, a probe of RFC 5227) or ND (RFC 4861).

The host needs no address on the interface, and the interface may be a port of a bridge: frames are sent and received on
the device itself. Knows frames; knows nothing of verdicts.
"""

from __future__ import annotations

import ctypes
import ipaddress
import select
import socket
import struct
import time
from collections.abc import Iterable
from pathlib import Path

from haqn.failover.announce import checksum

#: seconds that a target has to answer
_TIMEOUT = 0.4
_ETH_P_ALL, _ETH_P_ARP, _ETH_P_IPV6 = 0x0003, 0x0806, 0x86DD
_ARP_REPLY = 2
_ICMPV6, _SOLICITATION, _ADVERTISEMENT = 58, 135, 136
#: linux/if_packet.h, asm-generic/socket.h; Python has no names for them
_SOL_PACKET, _PACKET_IGNORE_OUTGOING, _SO_ATTACH_FILTER = 263, 23, 26
#: BPF (linux/bpf_common.h): load half word, load byte, jump if equal, return
_LDH, _LDB, _JEQ, _RET = 0x28, 0x30, 0x15, 0x06


#: ARP replies and neighbour advertisements, and nothing else, so that traffic does not wake us
_WANTED = (
    (_LDH, 0, 0, 12),
    (_JEQ, 0, 2, _ETH_P_ARP),
    (_LDH, 0, 0, 20),
    (_JEQ, 5, 6, _ARP_REPLY),
    (_JEQ, 0, 5, _ETH_P_IPV6),
    (_LDB, 0, 0, 20),
    (_JEQ, 0, 3, _ICMPV6),
    (_LDB, 0, 0, 54),
    (_JEQ, 0, 1, _ADVERTISEMENT),
    (_RET, 0, 0, 0xFFFF),
    (_RET, 0, 0, 0),
)


def _attach(tap: socket.socket) -> None:
    # the kernel copies the program: it must stay in memory during the call only
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in _WANTED))
    program = struct.pack("@HP", len(_WANTED), ctypes.addressof(code))
    tap.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def question(mac: bytes, target: str) -> bytes:
    """The frame that asks who has the address, from a host that has none itself."""
    address = ipaddress.ip_address(target)
    if isinstance(address, ipaddress.IPv4Address):
        header = b"\xff" * 6 + mac + struct.pack("!H", _ETH_P_ARP)
        return header + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + bytes(4) + bytes(6) + address.packed
    last = address.packed[-3:]
    destination = bytes.fromhex("ff0200000000000000000001ff") + last
    body = struct.pack("!BBHI", _SOLICITATION, 0, 0, 0) + address.packed
    pseudo = bytes(16) + destination + struct.pack("!II", len(body), _ICMPV6)
    body = struct.pack("!BBH", _SOLICITATION, 0, checksum(pseudo + body)) + body[4:]
    # version 6, hop limit 255, from the unspecified address
    header = struct.pack("!IHBB", 6 << 28, len(body), _ICMPV6, 255) + bytes(16) + destination
    return b"\x33\x33\xff" + last + mac + struct.pack("!H", _ETH_P_IPV6) + header + body


def is_answer(frame: bytes, targets: Iterable[str]) -> bool:
    """Whether the frame says that one of the addresses is there."""
    kind = int.from_bytes(frame[12:14])
    if kind == _ETH_P_ARP and len(frame) >= 42 and int.from_bytes(frame[20:22]) == _ARP_REPLY:
        found: bytes = frame[28:32]
    elif kind == _ETH_P_IPV6 and len(frame) >= 78 and frame[20] == _ICMPV6 and frame[54] == _ADVERTISEMENT:
        found = frame[62:78]
    else:
        return False
    return found in {ipaddress.ip_address(target).packed for target in targets}


def probe(interface: str, targets: Iterable[str]) -> bool:
    """Whether one of the targets answers within 0.4 s. Raises OSError when nobody can be asked."""
    targets = tuple(targets)
    mac = bytes.fromhex(Path(f"/sys/class/net/{interface}/address").read_text().strip().replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as tap:
        tap.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        _attach(tap)
        tap.bind((interface, _ETH_P_ALL))
        tap.setblocking(False)
        for target in targets:
            tap.send(question(mac, target))
        deadline = time.monotonic() + _TIMEOUT
        # what has come is read, however late this process gets to it
        while select.select([tap], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if is_answer(tap.recv(2048), targets):
                return True
    return False
