"""What the leader writes to SQL, and what a deposed one, or one with outdated facts, cannot. On SQLite."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from haqn.db import bindings, schema, tables
from haqn.db.bindings import LeaderWriter
from haqn.db.clock import utcnow
from haqn.db.session import Database
from haqn.db.snapshot import Facts, outbox_end, read_placed, read_wanted
from haqn.documents import FixedIp
from haqn.exceptions import PairNotFound, PlanNotFound, PlanOutdated, StaleLeader
from haqn.model import FIRST_PAIR_ID, AgentType, NetworkType, agent_id
from haqn.monitor.assemble import make_view
from haqn.scheduler.planner import plan
from haqn.scheduler.view import BindToAgent, BindToPair, CreatePair, DeletePair, Designate, Plan, Policy, decode_view
from tests.unit.monitor.facts import heartbeat, reported

NET1, NET2, NET3 = (agent_id(AgentType.L3, f"net{n}") for n in (1, 2, 3))
POLICY = Policy()
STANDARD = {"project_id": "p", "name": "", "created_at": utcnow(), "updated_at": utcnow()}


@pytest.fixture
def database(tmp_path):
    url = f"sqlite:///{tmp_path}/haqn.sqlite"
    schema.upgrade(url)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def writer(database):
    writer = LeaderWriter(database, bindings.begin_term(database, "mon1"))
    writer.note_agents([heartbeat(f"net{n}") for n in (1, 2, 3)], [])
    return writer


def add_routers(database, *ids):
    with database.transaction() as connection:
        connection.execute(
            tables.routers.insert(),
            [
                {
                    "id": router_id,
                    **STANDARD,
                    "admin_state_up": True,
                    "status": "BUILD",
                    "ha": True,
                    "enable_snat": True,
                    "routes": [],
                    "availability_zone_hints": [],
                }
                for router_id in ids
            ],
        )


def view_of(database):
    facts = Facts(read_wanted(database), read_placed(database))
    return make_view(facts, reported(alive=["net1", "net2", "net3"]), now=0.0, vacated={}, since={})


def apply(writer, *actions, keep_plans=10):
    return writer.apply(Plan(actions=actions), view_of(writer.database), POLICY, keep_plans=keep_plans)


def bound(database):
    return {b.router_id: (b.pair_id, b.agent_id) for b in read_placed(database).bindings.values()}


def create_pair(pair_id=FIRST_PAIR_ID, active=NET1, backup=NET2, vr_id=1):
    return CreatePair(pair_id=pair_id, active_agent_id=active, backup_agent_id=backup, vr_id=vr_id, reason="")


def designate(pair_id, active, backup, epoch):
    return Designate(pair_id=pair_id, active_agent_id=active, backup_agent_id=backup, epoch=epoch, reason="")


def to_pair(router_id, pair_id, from_pair_id=None, from_agent_id=None):
    return BindToPair(
        router_id=router_id, pair_id=pair_id, from_pair_id=from_pair_id, from_agent_id=from_agent_id, reason=""
    )


def test_epochs_grow_and_end_the_terms_before(database):
    first = LeaderWriter(database, bindings.begin_term(database, "mon1"))
    second = LeaderWriter(database, bindings.begin_term(database, "mon2"))
    assert (first.epoch, second.epoch) == (1, 2)
    second.note_agents([heartbeat("net1")], [])
    for write in (
        lambda: first.note_agents([heartbeat("net2")], []),
        lambda: apply(first, create_pair()),
        lambda: first.set_active(["r1"], []),
        lambda: first.prune_outbox(5),
    ):
        with pytest.raises(StaleLeader):
            write()
    assert read_placed(database).agents.keys() == {NET1}


def test_a_planners_plan_can_be_applied_and_then_there_is_nothing_to_do(database, writer):
    add_routers(database, *(f"r{n}" for n in range(20)))
    view = view_of(database)
    made = plan(view, POLICY)
    number = writer.apply(made, view, POLICY, keep_plans=10)
    assert len(bound(database)) == 20
    assert plan(view_of(database), POLICY).actions == ()

    with database.read() as connection:
        stored = bindings.get_plan(connection, number)
        assert [listed.number for listed in bindings.list_plans(connection, 5)] == [number]
    assert stored.epoch == writer.epoch
    assert plan(*decode_view(stored.view)) == made
    assert [action["router_id"] for action in stored.plan["actions"] if action["action"] == "BindToPair"] == sorted(
        bound(database)
    )


def test_every_kind_of_action(database, writer):
    add_routers(database, "r1", "r2")
    apply(
        writer,
        create_pair(),
        to_pair("r1", FIRST_PAIR_ID),
        BindToAgent(router_id="r2", agent_id=NET3, reason=""),
    )
    assert bound(database) == {"r1": (FIRST_PAIR_ID, None), "r2": (None, NET3)}
    apply(
        writer,
        designate(FIRST_PAIR_ID, NET2, NET1, 2),
        create_pair(FIRST_PAIR_ID + 1, NET2, NET3, 2),
        to_pair("r1", FIRST_PAIR_ID + 1, from_pair_id=FIRST_PAIR_ID),
        to_pair("r2", FIRST_PAIR_ID + 1, from_agent_id=NET3),
    )
    placed = read_placed(database)
    assert bound(database) == {"r1": (FIRST_PAIR_ID + 1, None), "r2": (FIRST_PAIR_ID + 1, None)}
    assert (placed.pairs[FIRST_PAIR_ID].members, placed.pairs[FIRST_PAIR_ID].epoch) == ((NET2, NET1), 2)
    apply(writer, DeletePair(pair_id=FIRST_PAIR_ID, reason=""))
    placed = read_placed(database)
    assert placed.pairs.keys() == {FIRST_PAIR_ID + 1}
    assert placed.next_pair_id == FIRST_PAIR_ID + 2


@pytest.mark.parametrize(
    "actions",
    [
        [to_pair("r1", FIRST_PAIR_ID)],
        [to_pair("r1", FIRST_PAIR_ID, from_agent_id=NET1)],
        [designate(FIRST_PAIR_ID, NET2, NET1, 3)],
        [designate(FIRST_PAIR_ID, NET3, NET2, 2)],
        [designate(FIRST_PAIR_ID + 5, NET2, NET1, 2)],
        [create_pair(FIRST_PAIR_ID, NET1, NET3)],
        [create_pair(FIRST_PAIR_ID + 2, NET1, NET3)],
    ],
)
def test_a_plan_whose_facts_are_outdated_changes_nothing_at_all(database, writer, actions):
    add_routers(database, "r1", "r2")
    apply(writer, create_pair(), to_pair("r1", FIRST_PAIR_ID))
    before = read_placed(database)
    with pytest.raises(PlanOutdated):
        apply(writer, to_pair("r2", FIRST_PAIR_ID), *actions)
    assert read_placed(database) == before


def test_routers_that_were_deleted_meanwhile_are_left_out(database, writer):
    add_routers(database, "r1")
    apply(writer, create_pair(), to_pair("gone", FIRST_PAIR_ID), to_pair("r1", FIRST_PAIR_ID))
    assert bound(database) == {"r1": (FIRST_PAIR_ID, None)}


def test_only_the_newest_plans_are_kept(database, writer):
    numbers = [apply(writer, create_pair(FIRST_PAIR_ID + n, vr_id=n + 1), keep_plans=2) for n in range(4)]
    with database.read() as connection:
        assert [stored.number for stored in bindings.list_plans(connection, 10)] == numbers[:1:-1]
        with pytest.raises(PlanNotFound):
            bindings.get_plan(connection, numbers[0])
    assert apply(writer, create_pair(FIRST_PAIR_ID + 4, vr_id=9), keep_plans=0) == 0


def test_a_switchover_by_hand(database, writer):
    apply(writer, create_pair())
    with database.transaction() as connection:
        bindings.switch_over(connection, FIRST_PAIR_ID)
    pair = read_placed(database).pairs[FIRST_PAIR_ID]
    assert (pair.members, pair.epoch) == ((NET2, NET1), 2)
    with database.transaction() as connection, pytest.raises(PairNotFound):
        bindings.switch_over(connection, 1)


def test_an_agents_row_follows_its_heartbeat(database, writer):
    with database.transaction() as connection:
        connection.execute(tables.agents.update().values(admin_state_up=False, heartbeat_timestamp=utcnow().min))
    writer.note_agents([heartbeat("net1", zone="z", haqn_version="2")], [NET2])
    with database.read() as connection:
        rows = {row.host: row for row in connection.execute(sa.select(tables.agents))}
    assert (rows["net1"].availability_zone, rows["net1"].heartbeat["haqn_version"]) == ("z", "2")
    assert str(rows["net1"].started_at) == "2026-01-02 03:04:05"
    assert not rows["net1"].admin_state_up, "what the operator said stays"
    assert rows["net2"].heartbeat_timestamp > rows["net3"].heartbeat_timestamp


def test_new_agents_may_have_to_wait_for_an_operator(database, writer):
    writer.note_agents([heartbeat("net1"), heartbeat("net4")], [], enable_new=False)
    agents = {agent.host: agent.admin_state_up for agent in read_placed(database).agents.values()}
    assert agents == {"net1": True, "net2": True, "net3": True, "net4": False}


def test_status(database, writer):
    add_routers(database, "r1", "r2")
    writer.set_active(["r1", "gone"], [])
    assert {r.id: r.status for r in read_wanted(database).routers.values()} == {"r1": "ACTIVE", "r2": "BUILD"}


def test_every_line_of_the_outbox_makes_another_end_and_old_ones_are_pruned(database, writer):
    def note(*numbers):
        with database.transaction() as connection:
            for number in numbers:
                connection.execute(
                    tables.outbox.insert().values(id=number, kind="router", object_id="r1", created_at=utcnow())
                )

    assert outbox_end(database, 0) == (0, 0)
    note(1, 2, 5)
    assert outbox_end(database, 0) == (3, 5)
    assert outbox_end(database, 2) == (1, 5)
    note(4)  # its transaction lasted longer
    assert outbox_end(database, 2) == (2, 5)
    writer.prune_outbox(2)
    assert outbox_end(database, 0) == (2, 5)


def test_wanted_has_routers_with_their_ports_and_the_ports_of_hosts(database, writer):
    add_routers(database, "r1")

    def port(port_id, owner="", host="", device="r1"):
        return {
            "id": port_id,
            **STANDARD,
            "network_id": "n1",
            "mac_address": f"fa:{port_id}",
            "admin_state_up": True,
            "status": "DOWN",
            "device_id": device,
            "device_owner": owner,
            "binding_host_id": host,
            "binding_profile": {},
        }

    def floating_ip(floatingip_id, port_id, address):
        return {
            "id": floatingip_id,
            **STANDARD,
            "floating_network_id": "n1",
            "floating_port_id": "free",
            "floating_ip_address": f"203.0.113.{floatingip_id[1]}",
            "port_id": port_id,
            "fixed_ip_address": address,
            "router_id": "r1" if port_id else None,
            "status": "DOWN",
        }

    with database.transaction() as connection:
        connection.execute(
            tables.networks.insert().values(
                id="n1",
                **STANDARD,
                admin_state_up=True,
                status="ACTIVE",
                shared=False,
                external=True,
                mtu=1500,
                network_type="flat",
                physical_network="public",
            )
        )
        connection.execute(
            tables.subnets.insert().values(
                id="s1",
                **STANDARD,
                network_id="n1",
                ip_version=4,
                cidr="10.0.0.0/20",
                gateway_ip="10.0.0.254",
                enable_dhcp=False,
                dns_nameservers=[],
                host_routes=[],
            )
        )
        connection.execute(
            tables.ports.insert(),
            [
                port("gw", "network:router_gateway", "net1"),
                port("i2", "network:ha_router_replicated_interface"),
                port("i1", "network:router_interface"),
                port("vm", "compute:nova", "cmp1", "some vm"),
                port("free", "compute:nova", "", "some vm"),
                port("dhcp", "network:dhcp", "net1", "some network"),
            ],
        )
        connection.execute(
            tables.ip_allocations.insert(),
            [
                {"subnet_id": "s1", "ip_address": "10.0.0.9", "port_id": "gw", "position": 0},
                {"subnet_id": "s1", "ip_address": "10.0.0.8", "port_id": "gw", "position": 1},
            ],
        )
        connection.execute(
            tables.routers.update().values(
                gateway_port_id="gw", routes=[{"destination": "10.9.0.0/16", "nexthop": "10.0.0.3"}]
            )
        )
        connection.execute(
            tables.floatingips.insert(),
            [
                floating_ip("f3", "vm", "10.1.0.3"),
                floating_ip("f2", "vm", "10.1.0.2"),
                floating_ip("f1", None, None),
            ],
        )
    wanted = read_wanted(database)
    router = wanted.routers["r1"]
    assert router.gateway.id == "gw"
    assert router.gateway.fixed_ips == tuple(
        FixedIp(subnet_id="s1", ip_address=ip, prefix_length=20, gateway_ip="10.0.0.254")
        for ip in ("10.0.0.9", "10.0.0.8")
    )
    assert [port.id for port in router.interfaces] == ["i1", "i2"]
    assert router.routes == (("10.9.0.0/16", "10.0.0.3"),)
    assert wanted.host_ports.keys() == {"vm"}
    assert wanted.networks["n1"].network_type is NetworkType.FLAT

    assert [one.id for one in router.floating_ips] == ["f2", "f3"]
    with database.transaction() as connection:
        moved = tables.floatingips.update().where(tables.floatingips.c.id == "f3")
        connection.execute(moved.values(fixed_ip_address="10.1.0.9"))
    writer.set_active([], [], router.floating_ips)
    now = read_wanted(database).routers["r1"].floating_ips
    assert [one.status for one in now] == ["ACTIVE", "DOWN"], "what was carried out is not where the second leads now"
