"""Golden configurations as keepalived itself sees them, and rulesets as nft does."""

import subprocess
from pathlib import Path

import pytest

from haqn import templating
from haqn.exceptions import HostError
from haqn.failover.announce import SWITCHES_ONLY
from haqn.keepalived.daemon import Daemon
from haqn.linux import nftables
from tests.isolated import isolated

pytestmark = pytest.mark.functional

GOLDEN = sorted((Path(__file__).parents[2] / "unit" / "keepalived" / "golden").glob("*.conf"))


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


def gate() -> str:
    template = templating.environment().get_template("gate.nft.j2")
    return template.render(first_group=65536, switches_only=SWITCHES_ONLY.hex(":"))


def router(**changes: object) -> str:
    values = {"gateway_device": "qg-1", "gateway_address": "198.51.100.5", "enable_snat": True} | changes
    return templating.environment().get_template("router.nft.j2").render(**values)


@isolated
def test_nft_accepts_the_rulesets():
    nftables.run(gate(), check_only=True)
    for changes in ({}, {"enable_snat": False}, {"gateway_device": None, "gateway_address": None}):
        nftables.run(f"table ip haqn {{\n{router(**changes)}\n}}", check_only=True)
    assert nftables.run("list ruleset") == "", "a check changes nothing"


@isolated
def test_nft_refuses_a_bad_ruleset_and_the_old_one_stays():
    nftables.replace_table("ip", "haqn", router())
    before = nftables.run("list ruleset")
    with pytest.raises(HostError, match="nftables"):
        nftables.replace_table("ip", "haqn", router(gateway_address="198.51.100.500"))
    assert nftables.run("list ruleset") == before
    assert nftables.has_table("ip", "haqn", router())
    assert not nftables.has_table("ip", "haqn", router(enable_snat=False))
