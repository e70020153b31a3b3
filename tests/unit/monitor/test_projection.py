"""Which documents each host gets."""

from dataclasses import replace

from haqn.db.snapshot import FloatingIpFact
from haqn.documents import (
    FixedIp,
    FloatingIp,
    NetworkDocument,
    PairDocument,
    PortDocument,
    Route,
    RouterDocument,
    RouterPort,
)
from haqn.model import NetworkType, Role
from haqn.monitor.projection import Projector
from tests.unit.monitor.facts import BRIDGE, agent_fact, facts, network, pair, port, router

EXT = network("ext", NetworkType.FLAT, physical_network="public")
LAN = network("lan", segmentation_id=42)


def documents(given, settled=(), awaiting=()):
    projection = Projector(advert_interval_ms=100).project(given, settled, awaiting)
    return {host: {key: found.document for key, found in of_host.items()} for host, of_host in projection.items()}


def cluster():
    return facts(
        agents=[agent_fact("net1"), agent_fact("net2"), agent_fact("net3"), agent_fact("cmp4", BRIDGE)],
        networks=[EXT, LAN, network("unused")],
        routers=[
            router(
                "r1",
                gateway=port("gw", "ext", ips=["203.0.113.5"]),
                interfaces=[port("if", "lan", ips=["10.1.1.1"])],
                routes=(("10.9.0.0/16", "10.1.1.9"),),
                floating_ips=(
                    FloatingIpFact(
                        id="fip",
                        router_id="r1",
                        floating_ip_address="203.0.113.9",
                        fixed_ip_address="10.1.1.7",
                        status="DOWN",
                    ),
                ),
            ),
            router("r2"),
        ],
        ports=[port("vm", "lan", host="cmp4"), port("lost", "lan", host="nowhere")],
        pairs=[pair(65536, "net1", "net2", epoch=4)],
        bindings={"r1": 65536},
    )


def test_what_is_to_be_taken_down_is_withheld_from_that_host_alone():
    projection = Projector(advert_interval_ms=100).project(cluster(), (), withheld={("net2", "r1")})
    assert {host for host, found in projection.items() if ("routers", "r1") in found} == {"net1"}


def test_both_members_get_the_same_router_and_their_own_half_of_the_pair():
    found = documents(cluster(), settled={65536})
    expected = RouterDocument(
        router_id="r1",
        pair_id=65536,
        gateway=RouterPort(
            port_id="gw",
            network_id="ext",
            mac_address="fa:16:3e:00:00:01",
            mtu=1500,
            fixed_ips=(
                FixedIp(subnet_id="s-ext", ip_address="203.0.113.5", prefix_length=24, gateway_ip="203.0.113.254"),
            ),
        ),
        interfaces=(
            RouterPort(
                port_id="if",
                network_id="lan",
                mac_address="fa:16:3e:00:00:01",
                mtu=1450,
                # the default route goes through the gateway port only
                fixed_ips=(FixedIp(subnet_id="s-lan", ip_address="10.1.1.1", prefix_length=24),),
            ),
        ),
        routes=(Route(destination="10.9.0.0/16", nexthop="10.1.1.9"),),
        floating_ips=(FloatingIp(floating_ip_address="203.0.113.9", fixed_ip_address="10.1.1.7"),),
    )
    assert found["net1"]["routers", "r1"] == found["net2"]["routers", "r1"] == expected
    half = PairDocument(
        pair_id=65536,
        vr_id=65536 % 255 + 1,
        role=Role.ACTIVE,
        epoch=4,
        settled=True,
        peer_host="net2",
        peer_address="10.0.0.2",
    )
    assert found["net1"]["pairs", "65536"] == half
    assert found["net2"]["pairs", "65536"] == replace(half, role=Role.BACKUP, peer_host="net1", peer_address="10.0.0.1")


def test_routers_announce_prefixes_to_tenants_and_not_to_the_world():
    def announced(port_id, network_id):
        made = port(port_id, network_id, ips=["10.1.1.1"])
        ip = FixedIp(
            subnet_id="six",
            ip_address="2001:db8::1",
            prefix_length=64,
            gateway_ip="2001:db8::1",
            ra_mode="slaac",
            dns_nameservers=("2001:db8::53",),
        )
        return replace(made, fixed_ips=(ip,))

    given = facts(
        agents=[agent_fact("net1"), agent_fact("net2")],
        networks=[EXT, LAN],
        routers=[router("r1", gateway=announced("gw", "ext"), interfaces=[announced("if", "lan")])],
        pairs=[pair(65536, "net1", "net2")],
        bindings={"r1": 65536},
    )
    document = documents(given)["net1"]["routers", "r1"]
    (outside,), (inside,) = document.gateway.fixed_ips, document.interfaces[0].fixed_ips
    assert (outside.ra_mode, outside.dns_nameservers, outside.gateway_ip) == (None, (), "2001:db8::1")
    assert (inside.ra_mode, inside.dns_nameservers, inside.gateway_ip) == ("slaac", ("2001:db8::53",), None)


def test_the_backup_of_a_pair_that_awaits_its_active_has_the_router_but_not_the_pair():
    found = documents(cluster(), awaiting={65536})
    assert {host for host in found if ("pairs", "65536") in found[host]} == {"net1"}
    assert {host for host in found if ("routers", "r1") in found[host]} == {"net1", "net2"}


def test_a_network_is_where_its_ports_are_and_floods_to_the_others():
    found = documents(cluster())
    lan = NetworkDocument(
        network_id="lan",
        network_type=NetworkType.VXLAN,
        mtu=1450,
        segmentation_id=42,
        flood=("10.1.0.1", "10.1.0.2"),
    )
    assert found["cmp4"] == {
        ("networks", "lan"): lan,
        ("ports", "vm"): PortDocument(port_id="vm", network_id="lan", mac_address="fa:16:3e:00:00:01"),
    }
    assert found["net1"]["networks", "lan"] == replace(lan, flood=("10.1.0.2", "10.1.0.4"))
    assert found["net1"]["networks", "ext"].flood == ()


def test_hosts_without_work_have_no_document_and_hosts_without_an_agent_are_unknown():
    found = documents(cluster())
    assert found["net3"] == {}
    assert found.keys() == {"net1", "net2", "net3", "cmp4"}


def test_a_router_on_one_agent_rides_on_no_pair():
    given = facts(agents=[agent_fact("net1")], routers=[router("r1")], bindings={"r1": "net1"})
    assert documents(given)["net1"]["routers", "r1"].pair_id is None


def test_l3_and_bridge_agent_of_one_host_share_its_documents():
    given = cluster()
    both = agent_fact("net1", BRIDGE)
    placed = replace(given.placed, agents={**given.placed.agents, both.id: both})
    wanted = replace(given.wanted, host_ports={"vm": port("vm", "lan", host="net1")})
    found = documents(type(given)(wanted, placed))
    assert ("ports", "vm") in found["net1"]
    assert ("routers", "r1") in found["net1"]


def test_what_is_remembered_gives_way_to_new_facts():
    given = cluster()
    projector = Projector(advert_interval_ms=100)
    first = projector.project(given, ())
    assert projector.project(given, ()) == first

    moved = replace(given.placed, agents={a.id: a for a in map(_move_tunnel, given.placed.agents.values())})
    renamed = {**given.wanted.routers, "r1": replace(given.wanted.routers["r1"], enable_snat=False)}
    after = type(given)(replace(given.wanted, routers=renamed), moved)
    assert projector.project(after, ()) == Projector(advert_interval_ms=100).project(after, ()) != first


def _move_tunnel(agent):
    return replace(agent, heartbeat={**agent.heartbeat, "tunnel_address": "10.7.0.1"})
