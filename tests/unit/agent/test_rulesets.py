"""What the gate and a router's NAT are made of, to the letter.

That nft accepts it is tested in tests/functional/host/test_keepalived.py.
"""

import pathlib

import pytest

from haqn import templating
from haqn.agent.rules import Rulesets
from haqn.documents import FloatingIp
from haqn.failover.announce import SWITCHES_ONLY

GOLDEN = pathlib.Path(__file__).parent / "golden"

_GATEWAY = {"gateway_device": "qg-1", "gateway_address": "198.51.100.5", "enable_snat": True, "ipv6": False}
_NO_GATEWAY = _GATEWAY | {"gateway_device": None, "gateway_address": None}
_FLOATING_IP = FloatingIp(floating_ip_address="198.51.100.9", fixed_ip_address="10.0.0.9")


def _gate() -> str:
    template = templating.environment().get_template("gate.nft.j2")
    return template.render(gated=0xFFFF0000, switches_only=SWITCHES_ONLY.hex(":"))


def _router(facts, *floating_ips) -> str:
    return Rulesets(templating.environment()).wanted(facts, list(floating_ips)).text


RULESETS = {
    "gate": _gate,
    "source_nat": lambda: _router(_GATEWAY),
    "floating_ip_and_source_nat": lambda: _router(_GATEWAY, _FLOATING_IP),
    "floating_ip_alone": lambda: _router(_GATEWAY | {"enable_snat": False}, _FLOATING_IP),
    "no_gateway": lambda: _router(_NO_GATEWAY),
    "ipv6_without_gateway": lambda: _router(_NO_GATEWAY | {"ipv6": True}),
}


@pytest.mark.parametrize("name", RULESETS)
def test_rulesets_are_those_that_were_reviewed(name):
    assert RULESETS[name]() == (GOLDEN / f"{name}.nft").read_text()


def test_every_reviewed_ruleset_is_one_that_haqn_makes():
    assert {path.stem for path in GOLDEN.iterdir()} == RULESETS.keys()
