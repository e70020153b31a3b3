"""Pairs of a host whose peers do not exist."""

from pathlib import Path

from haqn import templating
from haqn.agent.pairs import Pairs, PairsSettings
from haqn.documents import PairDocument
from haqn.model import FIRST_PAIR_ID, Role

#: of a gate that stays open for as long as the test wants
LONG_LEASE_MS = 600_000


def pair(number: int = 0, *, epoch: int = 1, settled: bool = False) -> PairDocument:
    """One of several that this host should be the ACTIVE of."""
    return PairDocument(
        pair_id=FIRST_PAIR_ID + number,
        vr_id=number + 1,
        role=Role.ACTIVE,
        epoch=epoch,
        settled=settled,
        peer_host="nobody",
        peer_address="192.0.2.2",
    )


def make_pairs(
    path: Path, ha_interface: str, *, gate_lease_ms: int = LONG_LEASE_MS, python: str = "/usr/bin/python3"
) -> Pairs:
    """What the agent has for the pairs of its host."""
    settings = PairsSettings(
        run_path=path,
        state_path=path,
        host="net1",
        ha_address="192.0.2.1",
        ha_interface=ha_interface,
        uplinks=(),
        gate_lease_ms=gate_lease_ms,
        python=python,
    )
    return Pairs(settings, templating.environment())
