"""What routers announce: bytes of router advertisements, checked by tcpdump's words for them."""

import struct
import subprocess
from pathlib import Path

import pytest

from haqn.agent import ra
from haqn.documents import FixedIp

MAC = "fa:16:3e:00:00:02"


def fixed_ip(address, mode, *dns):
    return FixedIp(subnet_id="s", ip_address=address, prefix_length=64, ra_mode=mode, dns_nameservers=dns)


def test_ports_that_announce_nothing():
    ordinary = FixedIp(subnet_id="s", ip_address="10.0.0.1", prefix_length=24)
    assert ra.message(MAC, 1500, [ordinary, fixed_ip("2001:db8::1", None, "2001:db8::53")]) is None


def test_the_bytes():
    message = ra.message(MAC, 1450, [fixed_ip("2001:db8::1", "slaac", "192.0.2.53", "2001:db8::53")])
    assert message == bytes.fromhex(
        "8600 0000 4000 0708 0000 0000 0000 0000"  # checksum by the kernel; hop limit 64, no flags, 1800 s
        "0101 fa16 3e00 0002"  # source link-layer address
        "0501 0000 0000 05aa"  # MTU 1450
        "0304 40c0 0001 5180 0000 3840 0000 0000 2001 0db8 0000 0000 0000 0000 0000 0000"  # on link, autonomous
        "1903 0000 0000 0708 2001 0db8 0000 0000 0000 0000 0000 0053"  # RDNSS: of IPv6 only
    )


@pytest.mark.parametrize(
    ("modes", "flags", "autonomous"),
    [
        (["slaac"], 0x00, [True]),
        (["dhcpv6-stateless"], 0x40, [True]),
        (["dhcpv6-stateful"], 0x80, [False]),
        (["slaac", "dhcpv6-stateful"], 0x80, [True, False]),
        (["dhcpv6-stateless", "dhcpv6-stateful", None], 0xC0, [True, False]),
    ],
)
def test_modes(modes, flags, autonomous):
    message = ra.message(MAC, 1000, [fixed_ip(f"2001:db8:{n}::1", mode) for n, mode in enumerate(modes)])
    assert message[5] == flags
    # an MTU that IPv6 cannot have is not told
    prefixes = struct.iter_unpack("!BBBB12x16s", message[24:])
    assert [(kind, bool(bits & 0x40)) for kind, _, _, bits, _ in prefixes] == [(3, each) for each in autonomous]


@pytest.mark.functional
def test_another_reader_understands_it(tmp_path: Path):
    message = ra.message(MAC, 1450, [fixed_ip("2001:db8::1", "dhcpv6-stateless", "2001:db8::53")])
    ipv6 = struct.pack("!IHBB", 6 << 28, len(message), 58, 255) + bytes.fromhex("fe80" + 26 * "0" + "02")
    frame = bytes.fromhex("333300000001fa163e00000286dd") + ipv6 + bytes.fromhex("ff02" + 24 * "0" + "0001") + message
    file = tmp_path / "ra.pcap"
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    file.write_bytes(header + struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
    said = subprocess.run(["tcpdump", "-nvvr", file], capture_output=True, text=True, check=True).stdout
    for words in ("router advertisement", "hop limit 64, Flags [other stateful]", "router lifetime 1800s"):
        assert words in said
    for words in ("2001:db8::/64, Flags [onlink, auto]", "addr: 2001:db8::53", "mtu option (5), length 8 (1):  1450"):
        assert words in said
