"""An operator's day with the real `openstack` command line: each resource, by name and by id, and what goes wrong."""

from __future__ import annotations

import datetime
import itertools
import re

import openstack.connection
import pytest

from haqn.db import tables
from haqn.db.session import Database
from haqn.model import AgentType, agent_id
from tests.functional.api.shell import Shell

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def shell(server):
    shell = Shell(server.url)
    yield shell
    shell.close()


@pytest.fixture
def agents(server):
    """Three L3 agents in two zones, as the monitor registers them."""
    database = Database(server.database_url)
    ids = {}
    with database.transaction() as connection:
        for host, zone in (("net1", "a"), ("net2", "b"), ("net3", "b")):
            ids[host] = agent_id(AgentType.L3, host)
            connection.execute(
                tables.agents.insert().values(
                    id=ids[host],
                    agent_type=str(AgentType.L3),
                    host=host,
                    binary="haqn-agent",
                    availability_zone=zone,
                    admin_state_up=True,
                    heartbeat={"host": host, "zone": zone},
                    created_at=NOW,
                    started_at=NOW,
                    heartbeat_timestamp=NOW,
                )
            )
    yield ids
    with database.transaction() as connection:
        for table in (tables.pins, tables.bindings, tables.pairs, tables.agents):
            connection.execute(table.delete())
    database.close()


@pytest.fixture
def public(shell):
    provider = "--provider-network-type flat --provider-physical-network ext-shell"
    network = shell.ok(f"network create --external {provider} public")
    shell.ok("subnet create --network public --subnet-range 203.0.113.0/24 --no-dhcp public-v4")
    yield network
    shell.do("network delete public")


@pytest.fixture
def private(shell):
    network = shell.ok("network create --mtu 1400 --tag blue --description mine private")
    shell.ok("subnet create --network private --subnet-range 10.0.0.0/24 --dns-nameserver 192.0.2.53 private-v4")
    yield network
    shell.do("network delete private")


def names(listed, column="Name"):
    return {entry[column] for entry in listed}


def test_networks_and_subnets(shell, public, private):
    assert (private["mtu"], private["tags"], private["description"]) == (1400, ["blue"], "mine")
    assert names(shell.ok("network list --external")) == {"public"}
    assert names(shell.ok("network list --tags blue")) == {"private"}
    shell.do(f"network set --name renamed --share --tag red {private['id']}")
    shell.do("network unset --tag blue renamed")
    shown = shell.ok("network show renamed")
    assert (shown["tags"], shown["shared"], shown["router:external"]) == (["red"], True, False)
    shell.do("network set --name private --no-share renamed")

    subnet = shell.ok("subnet show private-v4")
    assert (subnet["gateway_ip"], subnet["dns_nameservers"]) == ("10.0.0.1", ["192.0.2.53"])
    shell.do("subnet set --no-allocation-pool --allocation-pool start=10.0.0.100,end=10.0.0.200 private-v4")
    shell.do("subnet set --host-route destination=192.0.2.0/24,gateway=10.0.0.9 --no-dhcp private-v4")
    changed = shell.ok(f"subnet show {subnet['id']}")
    assert changed["allocation_pools"] == [{"start": "10.0.0.100", "end": "10.0.0.200"}]
    assert changed["enable_dhcp"] is False
    shell.do("subnet unset --host-route destination=192.0.2.0/24,gateway=10.0.0.9 private-v4")
    assert names(shell.ok("subnet list --network private")) == {"private-v4"}
    assert shell.ok("ip availability show private")["total_ips"] == 101
    assert names(shell.ok("ip availability list"), "Network Name") == {"public", "private"}
    assert "overlaps with another subnet" in shell.fails(
        "subnet create --network private --subnet-range 10.0.0.0/25 again"
    )
    assert "No Network found" in shell.fails("network show nothing")


def test_subnet_pools(shell):
    pool = shell.ok("subnet pool create --pool-prefix 10.64.0.0/16 --default-prefix-length 24 --share pool")
    assert (pool["prefixes"], pool["default_prefixlen"], pool["shared"]) == (["10.64.0.0/16"], 24, True)
    shell.do("subnet pool set --pool-prefix 10.65.0.0/16 --default --description d --tag x --default-quota 1000 pool")
    shown = shell.ok("subnet pool show pool")
    assert (shown["prefixes"], shown["is_default"], shown["tags"]) == (["10.64.0.0/15"], True, ["x"])
    assert names(shell.ok("subnet pool list --default")) == {"pool"}
    assert shell.ok("subnet pool list --no-share") == []

    shell.ok("network create pooled")
    first = shell.ok("subnet create --network pooled --subnet-pool pool first")
    assert (first["cidr"], first["subnetpool_id"]) == ("10.64.0.0/24", pool["id"])
    second = shell.ok("subnet create --network pooled --use-default-subnet-pool --prefix-length 23 second")
    assert second["cidr"] == "10.64.2.0/23"
    assert names(shell.ok("subnet list --subnet-pool pool")) == {"first", "second"}
    assert "pool prefix quota exceeded" in shell.fails("subnet create --network pooled --subnet-pool pool third")
    assert "existing allocations" in shell.fails("subnet pool delete pool")
    shell.do("subnet pool unset --tag x pool")
    shell.do("subnet pool set --no-default pool")
    shell.do("network delete pooled")
    shell.do("subnet pool delete pool")
    assert shell.ok("subnet pool list") == []


def test_ports_and_security_groups(shell, private):
    group = shell.ok("security group create --description servers web")
    rule = shell.ok("security group rule create --protocol tcp --dst-port 80 --remote-ip 192.0.2.0/24 web")
    assert (rule["protocol"], rule["port_range_max"]) == ("tcp", 80)
    assert {"default", "web"} <= names(shell.ok("security group list"))
    assert rule["id"] in names(shell.ok("security group rule list web"), "ID")
    shell.do("security group set --name www --tag x web")
    shown = shell.ok("security group show www")
    assert (shown["id"], shown["description"], shown["tags"]) == (group["id"], "servers", ["x"])
    shell.do(f"security group unset --tag x {group['id']}")
    assert shell.ok(f"security group show {group['id']}")["tags"] == []
    assert shell.ok(f"security group rule show {rule['id']}")["protocol"] == "tcp"

    fixed = "--fixed-ip subnet=private-v4,ip-address=10.0.0.50 --allowed-address ip-address=10.0.0.60"
    port = shell.ok(f"port create --network private {fixed} --security-group www vm")
    assert (port["fixed_ips"][0]["ip_address"], port["security_group_ids"]) == ("10.0.0.50", [group["id"]])
    assert "in use" in shell.fails("security group delete www")
    shell.do("port set --host c1 --device d1 --device-owner compute:nova --tag x vm")
    shown = shell.ok("port show vm")
    assert (shown["binding_host_id"], shown["device_id"], shown["tags"]) == ("c1", "d1", ["x"])
    assert names(shell.ok("port list --fixed-ip ip-substring=0.0.5")) == {"vm"}
    assert names(shell.ok("port list --host c1 --network private")) == {"vm"}
    shell.do("port set --extra-dhcp-option name=bootfile-name,value=pxe vm")
    (option,) = shell.ok("port show vm")["extra_dhcp_opts"]
    assert (option["opt_name"], option["opt_value"]) == ("bootfile-name", "pxe")
    shell.do("port unset --host --device --allowed-address ip-address=10.0.0.60 vm")
    assert shell.ok("port show vm")["allowed_address_pairs"] == []
    assert "is not a valid IP for the specified subnet" in shell.fails(
        "port create --network private --fixed-ip subnet=private-v4,ip-address=192.0.2.1 bad"
    )
    shell.do("port set --no-security-group --disable-port-security vm")
    assert shell.ok("port show vm")["port_security_enabled"] is False
    shell.do(f"port delete {port['id']}")
    shell.do(f"security group rule delete {rule['id']}")
    shell.do("security group delete www")


def test_routers_and_floating_ips(shell, public, private, agents):
    router = shell.ok("router create --ha --availability-zone-hint a r1")
    assert (router["status"], router["ha"], router["availability_zone_hints"]) == ("BUILD", True, ["a"])
    assert "could not be found" in shell.fails("router create --availability-zone-hint nowhere r0")
    shell.do("router set --external-gateway public --tag x --description edge r1")
    shell.do("router add subnet r1 private-v4")
    route = "--route destination=192.0.2.0/24,gateway=10.0.0.9"
    shell.ok(f"router add route {route} r1")
    shell.ok(f"router remove route {route} r1")
    shell.do(f"router set {route} r1")
    assert shell.ok("router show r1")["routes"] == [{"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}]
    shell.do(f"router unset {route} r1")
    assert names(shell.ok("router list --tags x")) == {"r1"}
    assert len(shell.ok("port list --router r1")) == 2

    shell.ok("port create --network private vm")
    floating = shell.ok("floating ip create --port vm --description web public")
    assert floating["router_id"] == router["id"]
    spare = shell.ok("floating ip create public")
    address = floating["floating_ip_address"]
    assert shell.ok(f"floating ip show {address}")["port_details"]["name"] == "vm"
    assert len(shell.ok("floating ip list --port vm")) == 1
    assert "required by one or more floating IPs" in shell.fails("router unset --external-gateway r1")
    assert "required by one or more floating IPs" in shell.fails("router remove subnet r1 private-v4")
    assert "still has ports" in shell.fails("router delete r1")
    assert "already has a floating IP" in shell.fails(f"floating ip set --port vm {spare['floating_ip_address']}")
    shell.do(f"floating ip unset --port {address}")
    shell.do(f"floating ip set --port vm {spare['floating_ip_address']}")
    assert shell.ok(f"floating ip show {spare['id']}")["port_details"]["name"] == "vm"
    shell.do(f"floating ip unset --port {spare['floating_ip_address']}")
    shell.do(f"floating ip delete {address} {spare['id']}")
    shell.do("port delete vm")
    shell.do("router remove subnet r1 private-v4")
    shell.ok("port create --network private leg")
    shell.do("router add port r1 leg")
    assert "leg" in names(shell.ok("port list --router r1"))
    shell.do("router remove port r1 leg")
    assert "leg" not in names(shell.ok("port list"))
    shell.do("router unset --external-gateway r1")
    shell.do("router delete r1")


# the SDK warns of its own use of what it has deprecated
@pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning")
@pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK60Warning")
def test_agents(shell, agents, server):
    assert names(shell.ok("network agent list"), "Host") == {"net1", "net2", "net3"}
    shell.do(f"network agent set --disable --description repair {agents['net3']}")
    shown = shell.ok(f"network agent show {agents['net3']}")
    assert (shown["admin_state_up"], shown["description"]) == (False, "repair")
    zones = shell.ok("availability zone list --network")
    assert {(zone["Zone Name"], zone["Zone Status"]) for zone in zones} == {("a", "available"), ("b", "available")}

    router = shell.ok("router create r1")
    shell.do(f"network agent add router --l3 {agents['net1']} r1")
    assert names(shell.ok(f"router list --agent {agents['net1']}")) == {"r1"}
    # the SDK does not look at the answer: 404, as the agent is disabled
    shell.do(f"network agent add router --l3 {agents['net3']} r1")
    assert shell.ok(f"router list --agent {agents['net3']}") == []
    shell.do(f"network agent remove router --l3 {agents['net1']} r1")
    assert shell.ok(f"router list --agent {agents['net1']}") == []

    database = Database(server.database_url)
    with database.transaction() as connection:
        members = {"active_agent_id": agents["net1"], "backup_agent_id": agents["net2"]}
        connection.execute(tables.pairs.insert().values(id=65536, vr_id=1, epoch=1, created_at=NOW, **members))
        connection.execute(tables.bindings.insert().values(router_id=router["id"], pair_id=65536, created_at=NOW))
    database.close()
    hosting = shell.ok("network agent list --router r1 --long")
    assert {agent["Host"]: agent["HA State"] for agent in hosting} == {"net1": "unknown", "net2": "unknown"}

    # no command sets priorities yet, but the SDK does
    connection = openstack.connection.Connection(
        auth_type="none", auth={"endpoint": server.url}, network_endpoint_override=server.url
    )
    client = connection.network
    assert client.update_router_in_agent(agents["net2"], router["id"], ha_chassis_priority=9) == {
        "ha_chassis_priority": 2
    }
    priorities = {agent.host: agent.ha_chassis_priority for agent in client.routers_hosting_l3_agents(router["id"])}
    assert priorities == {"net2": 2, "net1": 1}
    connection.close()
    shell.do("router delete r1")


def test_agents_are_deleted_and_have_no_dhcp(shell, agents, private):
    net1 = agents["net1"]
    router = shell.ok("router create r1")
    shell.do(f"network agent add router --l3 {net1} r1")
    assert shell.ok("network agent list --network private") == []
    assert shell.ok(f"network list --agent {net1}") == []
    # the SDK does not look at the answer: 404, as for any agent that serves no DHCP
    shell.do(f"network agent add network --dhcp {net1} private")
    assert shell.ok(f"network list --agent {net1}") == []
    # nor here: 409, as it is not there
    shell.do(f"network agent remove network --dhcp {net1} private")
    assert "No Agent found" in shell.fails("network agent show nothing")
    shell.do(f"network agent remove router --l3 {net1} r1")
    shell.do(f"network agent delete {net1} {agents['net2']}")
    assert names(shell.ok("network agent list"), "Host") == {"net3"}
    assert "1 of 1 network agents failed to delete" in shell.fails(f"network agent delete {net1}")
    shell.do(f"router delete {router['id']}")


#: a resource, as the command line calls it -> what makes one
MADE = {
    "network": "network create",
    "subnet": "subnet create --network public --subnet-range 192.0.2.{}/29",
    "subnet pool": "subnet pool create --pool-prefix 10.64.0.0/16",
    "port": "port create --network private",
    "router": "router create",
    "security group": "security group create",
}


@pytest.mark.parametrize("kind", MADE)
def test_each_resource_by_id_and_by_name(shell, public, private, kind):
    ranges = itertools.count(0, 8)

    def make(name, options=""):
        return shell.ok(f"{MADE[kind].format(next(ranges))} {options} {name}")

    red = make("alone", "" if kind == "network" else "--tag red --tag big")
    if kind == "network":
        shell.do("network set --tag red --tag big alone")
    shell.do(f"{kind} set --tag old alone")
    shell.do(f"{kind} unset --tag big {red['id']}")
    assert shell.ok(f"{kind} show alone") == shell.ok(f"{kind} show {red['id']}")
    assert names(shell.ok(f"{kind} list --tags red,old")) == {"alone"}
    # the fixtures' own are blue
    assert "alone" in names(shell.ok(f"{kind} list --any-tags red,blue"))
    assert "alone" not in names(shell.ok(f"{kind} list --not-tags red,old"))
    assert "alone" not in names(shell.ok(f"{kind} list --not-any-tags red,blue"))
    shell.do(f"{kind} unset --all-tag alone")
    shell.do(f"{kind} set --name lone alone")
    shell.do(f"{kind} set --description d lone")
    shown = shell.ok(f"{kind} show lone")
    assert (shown["id"], shown["description"], shown["tags"]) == (red["id"], "d", [])

    twins = [make("twin")["id"], make("twin")["id"]]
    for command in ("show twin", "set --description x twin", "delete twin"):
        assert "More than one" in shell.fails(f"{kind} {command}"), command
    for command in ("show nothing", "set --description x nothing", "delete nothing"):
        assert re.search(r"No \w+ found for nothing", shell.fails(f"{kind} {command}")), command
    shell.do(f"{kind} delete lone {' '.join(twins)}")
    assert not {"lone", "twin"} & names(shell.ok(f"{kind} list"))


def test_floating_ips_by_id_and_by_address(shell, public):
    floating = shell.ok("floating ip create --tag red public")
    address = floating["floating_ip_address"]
    assert names(shell.ok("floating ip list --tags red"), "ID") == {floating["id"]}
    shell.do(f"floating ip set --description d {address}")
    assert shell.ok(f"floating ip show {address}") == shell.ok(f"floating ip show {floating['id']}")
    assert "No FloatingIP found" in shell.fails("floating ip show 203.0.113.254")
    shell.do(f"floating ip delete {floating['id']}")


def test_what_goes_wrong_is_told(shell, public, private):
    for _ in range(2):
        shell.ok("network create twin")
    twins = [entry["ID"] for entry in shell.ok("network list --name twin")]
    assert "More than one" in shell.fails("network show twin")
    assert "No Network found" in shell.fails("port create --network nothing p")
    assert "not a valid IP subnet" in shell.fails("subnet create --network private --subnet-range 10.0.0.0/99 bad")
    assert "Invalid input for mac_address" in shell.fails("port create --network private --mac-address x bad")
    shell.ok("port create --network private --fixed-ip ip-address=10.0.0.9 first")
    taken = shell.fails("port create --network private --fixed-ip ip-address=10.0.0.9 second")
    assert "already allocated" in taken
    assert "409" in taken
    assert "ports still in use" in shell.fails("network delete private")
    shell.ok("router create wrong")
    assert "is not" in shell.fails("router set --external-gateway private wrong")
    assert "No Router found" in shell.fails("router add subnet nothing private-v4")
    assert "1 of 2 routers failed to delete" in shell.fails("router delete wrong nothing")
    assert "No Router found" in shell.fails("router show wrong")
    assert "is not" in shell.fails("floating ip create private")
    shell.do("port delete first")
    shell.do(f"network delete {' '.join(twins)}")
