"""keepalived.conf: golden files, and what must not get into it."""

import dataclasses
import itertools
from pathlib import Path

import pytest

from haqn import templating
from haqn.documents import PairDocument
from haqn.exceptions import InvalidDocument
from haqn.keepalived.config import HostSettings, render, virtual_address
from haqn.model import Role

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = HostSettings(
    host="net1",
    ha_address="192.0.2.1",
    ha_interface="eth0",
    uplinks=("eth1",),
    pairs_directory="/run/haqn/pairs",
    fifo="/run/haqn/notify.fifo",
    program="/usr/bin/python3 -SIE /run/haqn/failover/haqn/failover/run.py",
    gate_lease_ms=3000,
)
PAIR = PairDocument(
    pair_id=65536, vr_id=1, role=Role.ACTIVE, epoch=1, settled=True, peer_host="net2", peer_address="192.0.2.2"
)
OTHER = dataclasses.replace(PAIR, pair_id=65540, vr_id=7, peer_address="192.0.2.3", advert_interval_ms=50)

CASES = {
    "no_pairs": (SETTINGS, []),
    "two_pairs": (SETTINGS, [PAIR, OTHER]),
    "two_uplinks": (dataclasses.replace(SETTINGS, uplinks=("eth1", "eth2")), [PAIR]),
    "no_uplink": (dataclasses.replace(SETTINGS, uplinks=()), [PAIR]),
}


def text(name: str) -> str:
    settings, pairs = CASES[name]
    return render(templating.environment(), settings, pairs)


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    assert text(name) == (GOLDEN / f"{name}.conf").read_text()


def test_order_of_pairs_does_not_matter():
    pairs = [PAIR, OTHER, dataclasses.replace(PAIR, pair_id=65550, vr_id=9)]
    texts = {render(templating.environment(), SETTINGS, order) for order in itertools.permutations(pairs)}
    assert len(texts) == 1


def test_members_differ_in_addresses_only():
    peer = dataclasses.replace(SETTINGS, host="net2", ha_address="192.0.2.2")
    peers_pair = dataclasses.replace(PAIR, role=Role.BACKUP, peer_host="net1", peer_address="192.0.2.1")
    mine = render(templating.environment(), SETTINGS, [PAIR]).splitlines()
    other = render(templating.environment(), peer, [peers_pair]).splitlines()
    different = [line.split()[-1] for pair in zip(mine, other, strict=True) if pair[0] != pair[1] for line in pair]
    assert sorted(different) == ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2", "net1", "net2"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"vr_id": 0}, "vr_id"),
        ({"vr_id": 256}, "vr_id"),
        ({"pair_id": 7}, "pair_id"),
        ({"peer_address": "192.0.2.2 }\n}"}, "peer_address"),
        ({"peer_address": ""}, "peer_address"),
        ({"advert_interval_ms": 5}, "advert_interval_ms"),
        ({"advert_interval_ms": 105}, "advert_interval_ms"),
    ],
)
def test_bad_pairs_are_refused_by_name(changes, named):
    with pytest.raises(InvalidDocument, match=named):
        render(templating.environment(), SETTINGS, [dataclasses.replace(PAIR, **changes)])


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "a b"},
        {"ha_interface": "eth0\n"},
        {"uplinks": ("x" * 16,)},
        {"uplinks": tuple(f"eth{number}" for number in range(32))},
        {"fifo": "relative"},
        {"program": 'a"b'},
    ],
)
def test_bad_settings_are_refused(changes):
    with pytest.raises(InvalidDocument):
        render(templating.environment(), dataclasses.replace(SETTINGS, **changes), [PAIR])


def test_one_vr_id_is_not_given_to_two_pairs():
    with pytest.raises(InvalidDocument, match="vr_id 1"):
        render(templating.environment(), SETTINGS, [PAIR, dataclasses.replace(OTHER, vr_id=1)])


def test_virtual_addresses_stay_on_the_host_and_differ():
    assert virtual_address(65536) == "127.65.0.0"
    assert len({virtual_address(65536 + number) for number in range(5000)}) == 5000
