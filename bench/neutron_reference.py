"""The reference: one keepalived per router with the configuration that Neutron renders, in the same kind of lab.

Source of the settings: neutron/agent/linux/keepalived.py and l3_ha options' defaults: VRRPv2, 2 s adverts, priority 50
on both, nopreempt, garp_master_delay 60, addresses as virtual_ipaddress_excluded. Not here: the agent, its
state-change monitor and RabbitMQ, which do not make a failover faster.
"""

from __future__ import annotations

import time
from pathlib import Path

from bench.measure import Measured
from haqn.lab import faults
from haqn.lab.cluster import Lab
from haqn.lab.host import Host
from haqn.lab.probe import Probe
from haqn.lab.processes import wait_until
from haqn.lab.spec import UNDER, UPLINK, LabSpec

_CONFIGURATION = """global_defs {{
    notification_email_from neutron@openstack.local
    router_id neutron
}}
vrrp_instance VR_{number} {{
    state BACKUP
    interface ha-{number}
    virtual_router_id {vr_id}
    priority 50
    garp_master_delay 60
    nopreempt
    advert_int 2
    track_interface {{
        ha-{number}
    }}
    virtual_ipaddress {{
        169.254.0.{vr_id}/24 dev ha-{number}
    }}
    virtual_ipaddress_excluded {{
        {address}/16 dev qg-{number}
    }}
}}
"""


def _address(number: int) -> str:
    return f"198.18.1.{number}"


def _build(host: Host, member: int, routers: int) -> None:
    """Bridges to both wires of the host, and on them a namespace per router with its own keepalived."""
    host.ip(
        "link add name br-ha type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        "link add name br-ex type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"link set {UNDER} master br-ha",
        f"link set {UPLINK} master br-ex",
        "link set br-ha up",
        "link set br-ex up",
    )
    for number in range(1, routers + 1):
        namespace = f"qrouter-{number}"
        host.run(["ip", "netns", "add", namespace])
        host.ip(
            f"link add name tha{number} type veth peer name ha-{number} netns {namespace}",
            f"link add name tqg{number} type veth"
            f" peer name qg-{number} address fa:16:3e:0:1:{number:x} netns {namespace}",
            f"link set tha{number} master br-ha up",
            f"link set tqg{number} master br-ex up",
        )
        host.ip(
            "link set lo up",
            f"link set ha-{number} up",
            f"link set qg-{number} up",
            f"address add 169.254.192.{number * 2 + member}/18 dev ha-{number}",
            namespace=namespace,
        )
        path = host.state_dir / f"keepalived-{number}.conf"
        path.write_text(_CONFIGURATION.format(number=number, vr_id=number, address=_address(number)))
        inside = Path("/var/lib/haqn") / path.name
        command = ["ip", "netns", "exec", namespace, "keepalived", "-P", "-n", "-l", "-G", "-f", str(inside)]
        command += ["-p", f"/run/ka-{number}.pid", "-r", f"/run/vrrp-{number}.pid"]
        host.daemon(f"keepalived-{number}", command)


def _masters(host: Host, routers: int) -> int:
    """How many of the routers have their address on this host."""
    return sum(
        _address(number) in host.run(["ip", "-br", "address"], namespace=f"qrouter-{number}").stdout
        for number in range(1, routers + 1)
    )


def measure(routers: int) -> Measured:
    """Crash the host that is MASTER for the routers; the largest gap of 5 ms pings to each of them."""
    lab = Lab("benchref")
    try:
        lab.build(LabSpec(name=lab.name, hosts=2, computes=0))
        first, second = lab.host("net1"), lab.host("net2")
        _build(first, 0, routers)
        wait_until(lambda: _masters(first, routers) == routers, "elect the masters", 60)
        _build(second, 1, routers)
        time.sleep(6)
        with Probe(lab.host("ext"), [_address(number) for number in range(1, routers + 1)]) as probe:
            time.sleep(1)
            faults.crash(lab, "net1")
            wait_until(lambda: _masters(second, routers) == routers, "take over", 60)
            time.sleep(2)
            result = probe.stop()
        return Measured(
            f"Neutron's settings (one keepalived a router), {routers} routers, host crash",
            result.largest_gap_ms,
            "ms",
            detail=f"every one of {routers} pinged",
        )
    finally:
        lab.destroy(forget=True)
