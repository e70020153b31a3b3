"""Small clusters as the database and the agents would describe them."""

from haqn.coordination.observed import Beat, Report, Reported
from haqn.coordination.operations import KeyValue
from haqn.db.snapshot import AgentFact, Facts, NetworkFact, Placed, PortFact, RouterFact, Wanted
from haqn.documents import FixedIp, Heartbeat, PairReport, SyncReport, to_plain
from haqn.model import AgentType, Binding, NetworkType, Pair, Role, VrrpState, agent_id

L3, BRIDGE = AgentType.L3, AgentType.LINUX_BRIDGE


def heartbeat(host, agent_type=L3, **fields):
    number = host[-1]
    return Heartbeat(
        agent_id=agent_id(agent_type, host),
        agent_type=agent_type,
        host=host,
        started_at="2026-01-02T03:04:05Z",
        ha_address=f"10.0.0.{number}",
        tunnel_address=f"10.1.0.{number}",
        **fields,
    )


def agent_fact(host, agent_type=L3, **fields):
    return AgentFact(
        id=agent_id(agent_type, host),
        agent_type=agent_type,
        host=host,
        admin_state_up=True,
        draining=False,
        heartbeat=to_plain(heartbeat(host, agent_type, **fields)),
    )


def network(network_id, network_type=NetworkType.VXLAN, physical_network=None, segmentation_id=None):
    return NetworkFact(
        id=network_id,
        network_type=network_type,
        mtu=1450 if network_type is NetworkType.VXLAN else 1500,
        physical_network=physical_network,
        segmentation_id=segmentation_id,
        admin_state_up=True,
    )


def port(port_id, network_id, *, host="", status="DOWN", ips=()):
    return PortFact(
        id=port_id,
        network_id=network_id,
        mac_address="fa:16:3e:00:00:01",
        admin_state_up=True,
        status=status,
        host=host,
        fixed_ips=tuple(
            FixedIp(subnet_id=f"s-{network_id}", ip_address=ip, prefix_length=24, gateway_ip=f"{ip[:-1]}254")
            for ip in ips
        ),
    )


def router(router_id, *, gateway=None, interfaces=(), status="BUILD", **fields):
    return RouterFact(
        **{
            "id": router_id,
            "ha": True,
            "admin_state_up": True,
            "enable_snat": True,
            "status": status,
            "routes": (),
            "availability_zone_hints": (),
            "gateway": gateway,
            "interfaces": tuple(interfaces),
            **fields,
        }
    )


def pair(pair_id, active, backup, *, epoch=1):
    return Pair(
        id=pair_id,
        active_agent_id=agent_id(L3, active),
        backup_agent_id=agent_id(L3, backup),
        vr_id=pair_id % 255 + 1,
        epoch=epoch,
    )


def facts(*, agents=(), networks=(), routers=(), ports=(), pairs=(), bindings=()):
    """`bindings`: router -> pair id or host."""
    return Facts(
        Wanted(
            networks={n.id: n for n in networks},
            routers={r.id: r for r in routers},
            host_ports={p.id: p for p in ports},
        ),
        Placed(
            agents={a.id: a for a in agents},
            pairs={p.id: p for p in pairs},
            bindings={
                router_id: Binding(router_id=router_id, pair_id=target)
                if isinstance(target, int)
                else Binding(router_id=router_id, agent_id=agent_id(L3, target))
                for router_id, target in dict(bindings).items()
            },
            pins=(),
            next_pair_id=70000,
        ),
    )


def report(pair_id, state, *, epoch=1):
    return PairReport(
        pair_id=pair_id,
        state=VrrpState(state),
        since="",
        sequence=1,
        role=Role.ACTIVE if state == "MASTER" else Role.BACKUP,
        epoch=epoch,
        gate_open=state == "MASTER",
    )


def reported(*, alive=(), pairs=None, syncs=None):
    """`alive`: hosts; `pairs`: (host, pair id) -> report; `syncs`: host -> generation or SyncReport."""
    return Reported(
        version=1,
        beats={agent_id(L3, host): Beat(heartbeat(host), lease=7) for host in alive},
        pairs={place: Report(found, since=0.0) for place, found in (pairs or {}).items()},
        syncs={
            host: found if isinstance(found, SyncReport) else SyncReport(generation=found)
            for host, found in (syncs or {}).items()
        },
    )


def item(key, value, revision=1, lease=0):
    return KeyValue(key, value, create_revision=revision, mod_revision=revision, lease=lease)
