"""Golden configurations as keepalived itself sees them, and rulesets as nft does."""

import dataclasses
import subprocess
import time
from pathlib import Path

import pytest

from haqn import templating
from haqn.agent.rules import Rulesets
from haqn.documents import FloatingIp
from haqn.exceptions import HostError
from haqn.keepalived.daemon import Daemon
from haqn.linux import nftables
from tests.isolated import isolated

pytestmark = pytest.mark.functional

_UNIT = Path(__file__).parents[2] / "unit"
GOLDEN = sorted((_UNIT / "keepalived" / "golden").glob("*.conf"))
RULESETS = sorted((_UNIT / "agent" / "golden").glob("*.nft"))


def devices() -> None:
    """keepalived wants the devices that it is to watch."""
    for name in ("eth0", "eth1", "eth2"):
        subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@isolated
def test_keepalived_accepts_every_golden_file(path, tmp_path):
    devices()
    Daemon(tmp_path, tmp_path / "log").test(path.read_text())


@isolated
def test_keepalived_refuses_a_bad_file_and_the_old_one_stays(tmp_path):
    devices()
    daemon = Daemon(tmp_path, tmp_path / "log")
    daemon.config.write_text("old")
    good = next(path for path in GOLDEN if path.stem == "two_pairs").read_text()
    bad = good.replace("virtual_router_id 7", "virtual_router_id 700")
    assert bad != good
    with pytest.raises(HostError, match="keepalived -t says"):
        daemon.apply(bad)
    assert daemon.config.read_text() == "old"


GATEWAY = {"gateway_device": "qg-1", "gateway_address": "198.51.100.5", "enable_snat": True, "ipv6": False}
FLOATING_IP = FloatingIp(floating_ip_address="198.51.100.9", fixed_ip_address="10.0.0.9")


@isolated
def test_nft_accepts_every_golden_ruleset():
    assert RULESETS
    for path in RULESETS:
        nftables.run(path.read_text(), check_only=True)
    assert nftables.run("list ruleset") == "", "a check changes nothing"


@isolated
def test_nft_refuses_a_bad_ruleset_and_the_old_one_stays():
    rulesets = Rulesets(templating.environment())
    good = rulesets.wanted(GATEWAY, [])
    rulesets.apply("r", good, fresh=True)
    before = nftables.run("list ruleset")
    with pytest.raises(HostError, match="nftables"):
        rulesets.apply("r", rulesets.wanted(GATEWAY | {"gateway_address": "198.51.100.500"}, []), fresh=False)
    assert nftables.run("list ruleset") == before
    assert rulesets.apply("r", good, fresh=False) == []


@isolated
def test_a_seal_is_broken_by_any_change_and_outlives_the_process():
    environment = templating.environment()
    rulesets = Rulesets(environment)
    few = rulesets.wanted(GATEWAY, [FLOATING_IP])
    rulesets.apply("r", few, fresh=True)
    assert Rulesets(environment).apply("r", few, fresh=False) == []
    made = nftables.run("list ruleset")
    for change in (
        "delete element ip haqn to_fixed { 198.51.100.9 }",
        "flush chain ip haqn leaving",
        "add table ip6 haqn",
    ):
        nftables.run(change)
        assert Rulesets(environment).apply("r", few, fresh=False)
        assert without_seal(nftables.run("list ruleset")) == without_seal(made)
    # what an extension has put there is not ours
    nftables.run("add table ip x")
    assert Rulesets(environment).apply("r", few, fresh=False)
    assert Rulesets(environment).apply("r", few, fresh=False) == []
    assert "table ip x" in nftables.run("list ruleset")


@isolated
def test_floating_ips_are_added_and_removed_as_elements_whatever_their_number():
    rulesets = Rulesets(templating.environment())
    many = [
        FloatingIp(floating_ip_address=f"203.0.{n // 250}.{n % 250}", fixed_ip_address=f"10.1.{n // 250}.{n % 250}")
        for n in range(2000)
    ]
    rulesets.apply("r", rulesets.wanted(GATEWAY, [FLOATING_IP]), fresh=True)
    rules = len(nftables.run("list chains").splitlines())
    began = time.process_time()
    rulesets.apply("r", rulesets.wanted(GATEWAY, many), fresh=False)
    assert time.process_time() - began < 1.0
    assert len(nftables.run("list chains").splitlines()) == rules
    # one of them is another port's now
    moved = [dataclasses.replace(many[0], fixed_ip_address="10.9.9.9"), *many[1:]]
    rulesets.apply("r", rulesets.wanted(GATEWAY, moved), fresh=False)
    listing = nftables.run("list map ip haqn to_fixed")
    assert "203.0.0.0 : 10.9.9.9" in listing
    assert listing.count(" : 10.") == 2000
    changed = nftables.run("list ruleset")
    nftables.run("flush chain ip haqn leaving")
    rulesets.apply("r", rulesets.wanted(GATEWAY, moved), fresh=False)
    assert without_seal(nftables.run("list ruleset")) == without_seal(changed)


def without_seal(listing: str) -> list[str]:
    return sorted(line.strip(" \t,") for line in listing.replace(", ", "\n").splitlines() if "sealed_" not in line)
