"""What doc/troubleshoot.md tells to type is typed in a cluster that is well, and shows what it is there for."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from haqn.cmd import manage
from haqn.lab import etcdctl
from haqn.lab.scenery import wait_for
from haqn.lab.spec import Kind
from haqn.lab.wires import UNDER
from tests.functional.system.stage import Stage

pytestmark = [
    pytest.mark.functional,
    # oslo.upgradecheck asks prettytable for a name that is to go
    pytest.mark.filterwarnings("ignore:the 'ALL' constant is deprecated:DeprecationWarning"),
]

PAGE = (Path(__file__).parents[3] / "doc" / "troubleshoot.md").read_text()
#: the lab's hosts have no systemd; the real client's commands are run by `tests/functional/api/test_shell.py`
ELSEWHERE = ("journalctl", "openstack")


@dataclass(frozen=True)
class Place:
    """What stands for the page's placeholders."""

    stage: Stage
    floating: str

    @property
    def fixed(self) -> str:
        return self.stage.scenario.vm.address

    def words(self, line: str) -> list[str]:
        """The line as it is to be typed here."""
        named = {
            "HOST": self.stage.active,
            "ROUTER": self.stage.router_id,
            "qrouter-ID": f"qrouter-{self.stage.router_id}",
            "GATEWAY": self.stage.lab.spec.external_gateway,
            "eth0": UNDER,
            "203.0.113.9": self.floating,
            "10.0.0.9": self.fixed,
            # so that it ends
            "tcpdump": "tcpdump -c 2",
            "--endpoints=...": "",
        }
        for placeholder, value in named.items():
            line = re.sub(rf"(?<![\w-]){re.escape(placeholder)}(?![\w-])", value, line)
        return shlex.split(line, comments=True)

    def typed(self, line: str) -> str:
        """What the command prints; it must end with 0."""
        words = self.words(line)
        match words[0]:
            case "haqn-manage":
                # in this process, which reaches SQL and etcd as a control host does: starting it takes longer
                control = self.stage.lab.host(self.stage.lab.spec.of_kind(Kind.CONTROL)[0].name)
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    assert manage.main(["--config-file", str(control.directory / "haqn.conf"), *words[1:]]) == 0
                return printed.getvalue()
            case "etcdctl":
                return etcdctl.etcdctl(self.stage.lab, *words[1:])
            case _:
                return self.stage.host(self.stage.active).run(words, timeout=120).stdout


#: part of a command -> what it shows
SHOWS: dict[str, Callable[[Place, str], bool]] = {
    "plan --dry-run": lambda _, _text: True,
    "qrouter-ID ip address$": lambda place, text: place.stage.scenario.inbound[0] in text,
    "nft list set bridge haqn active": lambda place, text: str(place.stage.pair) in text,
    "ping -c 3 GATEWAY": lambda _, text: "3 received" in text,
    "observed/HOST/pairs": lambda _, text: '"state":"MASTER"' in text,
    "ip link show": lambda _, text: "state UP" in text,
    "proto 112": lambda _, text: "VRRPv3" in text,
    "events --limit 5": lambda _, text: len(text.splitlines()) <= 6,
    "observed/HOST/sync": lambda _, text: '"generation":' in text,
    "desired/HOST/manifest": lambda _, text: '"complete":true' in text,
    "leader/monitor": lambda place, text: place.stage.leader.holder in text,
    "endpoint status --cluster": lambda _, text: "IS LEADER" in text,
    "nft get element ip haqn to_fixed": lambda place, text: place.fixed in text,
    "ip address show to 203.0.113.9": lambda place, text: place.floating in text,
    "tcpdump -ni any": lambda _, _text: True,
    "haqn-manage brakes": lambda _, text: "nothing is held" in text,
    "haqn-manage config check": lambda _, _text: True,
    "haqn-manage upgrade check": lambda _, text: text.count("Success") == 3,
    "haqn-manage db upgrade": lambda _, _text: True,
    "endpoint health": lambda _, _text: True,
}


def commands() -> list[str]:
    """Of all console blocks of the page, and those that its text names."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    lines = [line.removeprefix("# ") for block in blocks for line in block.splitlines()]
    named = re.findall(r"`((?:haqn-manage|etcdctl) [^`]+)`", " ".join(PAGE.split()))
    typed = {line.partition("  #")[0].strip(): None for line in [*lines, *named]}
    return [line for line in typed if not line.startswith(ELSEWHERE)]


def test_every_command_of_the_page_shows_what_it_is_for(stage: Stage) -> None:
    wanted = {"floating_network_id": stage.scenario.external["id"], "port_id": stage.scenario.vm.port_id}
    floating = stage.client.create("floatingip", wanted)
    wait_for("the floating IP is ACTIVE", lambda: stage.client.show("floatingip", floating["id"])["status"] == "ACTIVE")
    place = Place(stage, floating["floating_ip_address"])
    try:
        with stage.scenario.both_ways():
            shown = {line: place.typed(line) for line in commands()}
    finally:
        stage.client.delete("floatingip", floating["id"])
    assert len(shown) > 15
    for line, text in shown.items():
        checks = [shows for part, shows in SHOWS.items() if part in f"{line}$"]
        assert len(checks) == 1, f"what does this show: {line}"
        assert checks[0](place, text), f"{line}\n{text}"
