"""Virtual machines of the lab: namespaces on a compute host, each with one network card.

The card is a veth whose host end is the tap device of the port (`tap` and the first 11 characters of
its id), which the agent plugs. Addresses are set by hand from the port: nothing here asks for DHCP.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import msgspec

from haqn.exceptions import HostError
from haqn.lab.client import Client
from haqn.lab.cluster import Lab
from haqn.lab.spec import Kind

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_PREFIX = "vm-"


class Vm(msgspec.Struct, frozen=True, kw_only=True):
    """A VM and all that is needed to plug it again after a reboot of its host."""

    name: str
    host: str
    port_id: str
    mac_address: str
    address: str
    prefix_length: int
    gateway: str | None
    mtu: int

    @property
    def namespace(self) -> str:
        """Its network namespace on the host."""
        return _PREFIX + self.name

    @property
    def tap(self) -> str:
        return tap_name(self.port_id)


def tap_name(port_id: str) -> str:
    """Neutron's name of the host's end of a port."""
    return f"tap{port_id[:11]}"


def list_vms(lab: Lab) -> list[Vm]:
    """The VMs that were added, by name."""
    try:
        return msgspec.json.decode(_file(lab).read_bytes(), type=list[Vm])
    except FileNotFoundError:
        return []


def find(lab: Lab, name: str) -> Vm:
    """The VM of this name; KeyError without one."""
    for vm in list_vms(lab):
        if vm.name == name:
            return vm
    raise KeyError(f"no VM {name} in lab {lab.name}")


def add(lab: Lab, client: Client, *, name: str, host: str, network_id: str, **attributes: object) -> Vm:
    """Create a port that is bound to the compute host, and a VM on it. `attributes`: more of the port's."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"cannot name a VM {name!r}: lower case letters, digits and dashes, at most 31")
    if lab.spec.host(host).kind is not Kind.COMPUTE:
        raise ValueError(f"cannot run a VM on {host}: it is not a compute host")
    if any(vm.name == name for vm in list_vms(lab)):
        raise ValueError(f"cannot add VM {name}: there is one of this name")
    port = client.create(
        "port",
        {
            "network_id": network_id,
            "name": name,
            "device_id": name,
            "device_owner": "compute:lab",
            "binding:host_id": host,
            **attributes,
        },
    )
    if not port["fixed_ips"]:
        client.delete("port", port["id"])
        raise HostError(f"cannot add VM {name}: network {network_id} has no subnet to take an address from")
    fixed_ip = port["fixed_ips"][0]
    subnet = client.show("subnet", fixed_ip["subnet_id"])
    vm = Vm(
        name=name,
        host=host,
        port_id=port["id"],
        mac_address=port["mac_address"],
        address=fixed_ip["ip_address"],
        prefix_length=ipaddress.ip_network(subnet["cidr"]).prefixlen,
        gateway=subnet["gateway_ip"],
        mtu=client.show("network", network_id)["mtu"],
    )
    _save(lab, [*list_vms(lab), vm])
    plug(lab, vm)
    return vm


def plug(lab: Lab, vm: Vm) -> None:
    """Make the VM's namespace and card on its host."""
    host = lab.host(vm.host)
    host.run(["ip", "netns", "add", vm.namespace])
    host.ip(
        f"link add name {vm.tap} mtu {vm.mtu} type veth"
        f" peer name eth0 mtu {vm.mtu} address {vm.mac_address} netns {vm.namespace}",
        f"link set {vm.tap} up",
    )
    host.ip(
        "link set lo up",
        f"address add {vm.address}/{vm.prefix_length} dev eth0",
        "link set eth0 up",
        *([f"route add default via {vm.gateway}"] if vm.gateway else []),
        namespace=vm.namespace,
    )


def plug_again(lab: Lab, host: str) -> None:
    """Bring the VMs of a host back after it was rebooted."""
    for vm in list_vms(lab):
        if vm.host == host:
            plug(lab, vm)


def delete(lab: Lab, client: Client, name: str) -> None:
    """Remove the VM and its port."""
    vm = find(lab, name)
    host = lab.host(vm.host)
    # the namespace may be gone, or half made: the link is the part that matters
    host.run(["ip", "link", "delete", vm.tap], check=False)
    host.run(["ip", "netns", "delete", vm.namespace], check=False)
    client.delete("port", vm.port_id)
    _save(lab, [other for other in list_vms(lab) if other.name != name])


def _file(lab: Lab) -> Path:
    return lab.work_dir / "vms.json"


def _save(lab: Lab, vms: list[Vm]) -> None:
    _file(lab).write_bytes(msgspec.json.format(msgspec.json.encode(vms)))
