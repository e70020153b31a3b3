"""A lab as a whole: its hosts and wires are built, found again, and taken down here.

Knows the topology only. What runs on the hosts is `haqn.lab.services`, what goes wrong with them is
`haqn.lab.faults`. Everything but the specification is observed, not remembered.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import msgspec

from haqn.exceptions import HostError
from haqn.lab import wires
from haqn.lab.command import run
from haqn.lab.host import Host, holders
from haqn.lab.spec import BASE_DIR, HostSpec, LabSpec, check_name, root_link, work_dir

_SWITCH = "switch"
_SUBNETS = range(256)


class Lab:
    """A handle on the lab of this name, built or not."""

    def __init__(self, name: str = "haqn") -> None:
        check_name(name)
        self.name = name
        self.switch = self._handle(_SWITCH)
        self._hosts: dict[str, Host] = {}

    @property
    def work_dir(self) -> Path:
        return work_dir(self.name)

    @property
    def state_file(self) -> Path:
        """The specification of the lab that was built last."""
        return self.work_dir / "state.json"

    @property
    def spec(self) -> LabSpec:
        """What the lab was built from; HostError if there is no lab."""
        try:
            return msgspec.json.decode(self.state_file.read_bytes(), type=LabSpec)
        except FileNotFoundError as error:
            raise HostError(f"cannot find lab {self.name}: it is not up (haqn-lab up)") from error

    @property
    def is_up(self) -> bool:
        return self.state_file.exists() and self.switch.running

    def host(self, name: str) -> Host:
        """The host of this name (KeyError: there is none), as the spec has it."""
        if name != _SWITCH:
            self.spec.host(name)
        if name not in self._hosts:
            self._hosts[name] = self._handle(name)
        return self._hosts[name]

    def hosts(self) -> list[Host]:
        """Every host but the switch."""
        return [self.host(spec.name) for spec in self.spec.host_specs()]

    def build(self, spec: LabSpec) -> LabSpec:
        """Namespaces and wires, nothing running in them; what was there under this name goes first.

        Answers the specification with the subnet that was free.
        """
        self.destroy(forget=True)
        with _exclusive():
            spec = replace(spec, name=self.name, subnet=_free_subnet())
            self.work_dir.mkdir(mode=0o700)
            self.state_file.write_text(json.dumps(asdict(spec), indent=2))
            self.switch.start()
            wires.build_switch(self.switch, spec)
        for host_spec in spec.host_specs():
            self._start_host(spec, host_spec)
        return spec

    def rebuild_host(self, name: str) -> None:
        """Kill the host and bring it back with its links and its /var/lib/haqn, as a power cycle does."""
        spec = self.spec
        host = self.host(name)
        host.kill()
        wires.unplug(self.switch, name)
        wires.mend_rules(self.switch, name)
        self._start_host(spec, spec.host(name))

    def destroy(self, *, forget: bool = False) -> None:
        """End everything of this name; with no lab it does nothing.

        Logs and data stay until the next build, unless they are to be forgotten.
        """
        for name in sorted(holders(self.name), key=lambda name: name == _SWITCH):
            self._handle(name).kill()
        wires.disconnect(self.name)
        self.state_file.unlink(missing_ok=True)
        if forget and self.work_dir.exists():
            shutil.rmtree(self.work_dir)

    def remains(self) -> list[str]:
        """Hosts that run and links of the machine itself that belong to this lab; empty after `destroy`."""
        left = sorted(holders(self.name))
        if run(["ip", "link", "show", root_link(self.name)], check=False).returncode == 0:
            left.append(root_link(self.name))
        return left

    def _start_host(self, spec: LabSpec, host_spec: HostSpec) -> None:
        host = self.host(host_spec.name)
        host.start()
        wires.connect(self.switch, host, spec, host_spec)

    def _handle(self, name: str) -> Host:
        return Host(self.name, name, self.work_dir / "hosts" / name)


def labs() -> list[str]:
    """Names of the labs that have a specification on this machine."""
    return sorted(file.parent.name for file in BASE_DIR.glob("*/state.json"))


def _free_subnet() -> int:
    """The first underlay that no interface of the machine is in."""
    taken = {
        address["local"].rpartition(".")[0]
        for link in json.loads(run(["ip", "-json", "-4", "address", "show"]).stdout)
        for address in link["addr_info"]
    }
    for subnet in _SUBNETS:
        if LabSpec(subnet=subnet).root_address.rpartition(".")[0] not in taken:
            return subnet
    raise HostError("cannot find a free subnet of 10.213.0.0/16 for the underlay")


@contextmanager
def _exclusive() -> Iterator[None]:
    """One lab at a time chooses its subnet."""
    BASE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (BASE_DIR / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
