import pytest

from haqn.failover import announce
from haqn.lab.capture import parse

ROUTER = bytes.fromhex("fa163e000001")
HOST = bytes.fromhex("020000000001")
OTHER = bytes.fromhex("020000000002")


ROWS = {address: announce.Row.parse(f"7 up0 fa:16:3e:00:00:01 {address}") for address in ("198.18.0.7", "2001:db8::7")}


def in_vxlan(inner: bytes) -> bytes:
    udp = bytes(2) + (4789).to_bytes(2, "big") + bytes(4)
    return OTHER + HOST + b"\x08\x00" + ipv4(17, udp + bytes(8) + inner)


def ipv4(protocol: int, payload: bytes) -> bytes:
    return b"\x45" + bytes(8) + bytes([protocol]) + bytes(10) + payload


def test_a_plain_frame_has_its_own_addresses_only() -> None:
    frame = parse(OTHER + ROUTER + b"\x08\x06" + bytes(28), 1.5)

    assert (frame.time, frame.source, frame.destination) == (1.5, "fa:16:3e:00:00:01", "02:00:00:00:00:02")
    assert frame.sources == {"fa:16:3e:00:00:01"}


def test_a_frame_within_vxlan_is_seen() -> None:
    for port in (4789, 8472):
        udp = bytes(2) + port.to_bytes(2, "big") + bytes(4)
        inner = b"\xff" * 6 + ROUTER + b"\x08\x06"
        frame = parse(OTHER + HOST + b"\x08\x00" + ipv4(17, udp + bytes(8) + inner))

        assert frame.inner == ("fa:16:3e:00:00:01", "ff:ff:ff:ff:ff:ff")
        assert frame.sources == {"02:00:00:00:00:01", "fa:16:3e:00:00:01"}


def test_other_traffic_and_short_frames_are_not_taken_for_vxlan() -> None:
    udp = bytes(2) + (53).to_bytes(2, "big") + bytes(40)

    assert parse(OTHER + HOST + b"\x08\x00" + ipv4(17, udp)).inner is None
    assert parse(OTHER + HOST + b"\x08\x00" + ipv4(6, bytes(40))).inner is None
    assert parse(OTHER + HOST + b"\x08\x00" + ipv4(17, bytes(2) + (4789).to_bytes(2, "big"))).inner is None
    assert parse(OTHER + HOST + b"\x08\x00").inner is None


@pytest.mark.parametrize("address", ROWS)
@pytest.mark.parametrize("audience", [announce.SWITCHES_ONLY, announce.EVERYBODY])
def test_what_a_frame_announces(address: str, audience: bytes) -> None:
    _, frame = announce.frame(ROWS[address], audience)

    for data in (frame, in_vxlan(frame)):
        assert parse(data).announced == ("fa:16:3e:00:00:01", address)


def test_what_announces_nothing() -> None:
    asked = bytes.fromhex("0001080006040001") + ROUTER + bytes([198, 18, 0, 7]) + bytes(6) + bytes([198, 18, 0, 8])
    assert parse(b"\xff" * 6 + ROUTER + b"\x08\x06" + asked).announced is None
    _, advertisement = announce.frame(ROWS["2001:db8::7"], announce.EVERYBODY)
    solicited = bytearray(advertisement)
    solicited[58] |= 0x40
    assert parse(bytes(solicited)).announced is None
    assert parse(advertisement[:60]).announced is None
    assert parse(in_vxlan(ROUTER)).announced is None
