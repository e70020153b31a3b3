"""Questions that the lab asks the API more than once."""

from __future__ import annotations

from haqn.exceptions import HaqnError
from haqn.lab.client import Client, Resource

#: of router interfaces, the second of those with a standby
_INTERFACE_OWNERS = ["network:router_interface", "network:ha_router_replicated_interface"]


def by_name(client: Client, resource: str, name_or_id: str) -> Resource:
    """The one resource of this name or id; HaqnError if there is none, or several."""
    found = client.find(resource, id=name_or_id) or client.find(resource, name=name_or_id)
    if len(found) != 1:
        raise HaqnError(f"cannot tell which {resource} {name_or_id} is: there are {len(found)}")
    return found[0]


def router_of_vm(client: Client, port_id: str) -> Resource:
    """The router that the VM's packets go through: the one with the gateway address of the port's subnet."""
    vm_port = client.show("port", port_id)
    subnets = {fixed_ip["subnet_id"] for fixed_ip in vm_port["fixed_ips"]}
    for interface in client.find("port", network_id=vm_port["network_id"], device_owner=_INTERFACE_OWNERS):
        if subnets & {fixed_ip["subnet_id"] for fixed_ip in interface["fixed_ips"]}:
            return client.show("router", interface["device_id"])
    raise HaqnError(f"cannot find a router on the subnet of port {port_id}")


def external_address(router: Resource) -> str:
    """The router's address on its external network; HaqnError without a gateway."""
    gateway = router["external_gateway_info"]
    if not gateway:
        raise HaqnError(f"cannot find an external address: router {router['id']} has no gateway")
    address: str = gateway["external_fixed_ips"][0]["ip_address"]
    return address
