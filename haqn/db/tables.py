"""The tables of haqn's SQL database: the only truth about desired state.

SQLAlchemy Core tables, portable to SQLite, PostgreSQL and MariaDB/MySQL. Knows no query
and no session. Every change here needs an Alembic revision in `migrations/`.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Uuid = sa.String(36)
Project = sa.String(255)
Name = sa.String(255)
Host = sa.String(255)
Mac = sa.String(17)
Ip = sa.String(45)
Cidr = sa.String(49)
# SQLite gives an INTEGER PRIMARY KEY an identity only under that very type name.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _id() -> sa.Column[str]:
    return sa.Column("id", Uuid, primary_key=True)


def _standard() -> list[sa.Column[object]]:
    """Neutron's standard attributes."""
    return [
        sa.Column("project_id", Project, nullable=False, index=True),
        sa.Column("name", Name, nullable=False, server_default="", index=True),
        sa.Column("description", Name, nullable=False, server_default=""),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("updated_at", sa.DateTime, nullable=False),
        sa.Column("revision_number", sa.BigInteger, nullable=False, server_default="0"),
    ]


def _ref(name: str, target: str, *, nullable: bool = False, ondelete: str | None = None) -> sa.Column[str]:
    return sa.Column(name, Uuid, sa.ForeignKey(target, ondelete=ondelete), nullable=nullable, index=True)


networks = sa.Table(
    "networks",
    metadata,
    _id(),
    *_standard(),
    sa.Column("admin_state_up", sa.Boolean, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("shared", sa.Boolean, nullable=False),
    sa.Column("external", sa.Boolean, nullable=False),
    sa.Column("mtu", sa.Integer, nullable=False),
    sa.Column("network_type", sa.String(16), nullable=False),
    sa.Column("physical_network", sa.String(64)),
    sa.Column("segmentation_id", sa.Integer),
    # one network a VXLAN id, and one flat network a physical network, whatever the worker:
    # NULLs are distinct in a unique constraint
    sa.Column("segment_key", sa.String(96), unique=True),
    # NULL: none
    sa.Column("availability_zone_hints", sa.JSON),
    # what ports of the network say that do not say it themselves
    sa.Column("port_security_enabled", sa.Boolean, nullable=False, server_default=sa.true()),
)

subnets = sa.Table(
    "subnets",
    metadata,
    _id(),
    *_standard(),
    _ref("network_id", "networks.id"),
    sa.Column("ip_version", sa.Integer, nullable=False),
    sa.Column("cidr", Cidr, nullable=False),
    sa.Column("gateway_ip", Ip),
    sa.Column("enable_dhcp", sa.Boolean, nullable=False),
    sa.Column("dns_nameservers", sa.JSON, nullable=False),
    sa.Column("host_routes", sa.JSON, nullable=False),
    # haqn.model.Ipv6Mode; NULL: none, and in IPv4
    sa.Column("ipv6_ra_mode", sa.String(16)),
    sa.Column("ipv6_address_mode", sa.String(16)),
    # the pool that the cidr is from. No foreign key, as SQLite cannot add one to a table that others refer to: whoever
    # allocates from a pool locks its row, and so does whoever deletes it
    sa.Column("subnetpool_id", Uuid, index=True),
)

subnetpools = sa.Table(
    "subnetpools",
    metadata,
    _id(),
    *_standard(),
    sa.Column("shared", sa.Boolean, nullable=False),
    sa.Column("ip_version", sa.Integer, nullable=False),
    sa.Column("prefixes", sa.JSON, nullable=False),
    sa.Column("default_prefixlen", sa.Integer, nullable=False),
    sa.Column("min_prefixlen", sa.Integer, nullable=False),
    sa.Column("max_prefixlen", sa.Integer, nullable=False),
    # the most that a project may have of the pool: addresses of IPv4, /64 of IPv6; NULL: no limit
    sa.Column("default_quota", sa.BigInteger),
    # the IP version that this is the default pool of, so that no version has two; NULL: of none
    sa.Column("default_of", sa.Integer, unique=True),
)

allocation_pools = sa.Table(
    "allocation_pools",
    metadata,
    sa.Column("id", BigId, primary_key=True, autoincrement=True),
    _ref("subnet_id", "subnets.id", ondelete="CASCADE"),
    sa.Column("first_ip", Ip, nullable=False),
    sa.Column("last_ip", Ip, nullable=False),
)

ports = sa.Table(
    "ports",
    metadata,
    _id(),
    *_standard(),
    _ref("network_id", "networks.id"),
    sa.Column("mac_address", Mac, nullable=False),
    sa.Column("admin_state_up", sa.Boolean, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("device_id", sa.String(255), nullable=False, server_default="", index=True),
    sa.Column("device_owner", sa.String(255), nullable=False, server_default=""),
    sa.Column("binding_host_id", Host, nullable=False, server_default="", index=True),
    sa.Column("binding_profile", sa.JSON, nullable=False),
    sa.Column("binding_vnic_type", sa.String(64), nullable=False, server_default="normal"),
    # NULL: none
    sa.Column("allowed_address_pairs", sa.JSON),
    # NULL: none
    sa.Column("extra_dhcp_opts", sa.JSON),
    sa.Column("port_security_enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.UniqueConstraint("network_id", "mac_address"),
)

ip_allocations = sa.Table(
    "ip_allocations",
    metadata,
    sa.Column("subnet_id", Uuid, sa.ForeignKey("subnets.id"), primary_key=True),
    sa.Column("ip_address", Ip, primary_key=True),
    _ref("port_id", "ports.id", ondelete="CASCADE"),
    # order of the addresses of one port
    sa.Column("position", sa.Integer, nullable=False),
)

routers = sa.Table(
    "routers",
    metadata,
    _id(),
    *_standard(),
    sa.Column("admin_state_up", sa.Boolean, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("ha", sa.Boolean, nullable=False),
    sa.Column("enable_snat", sa.Boolean, nullable=False),
    _ref("gateway_port_id", "ports.id", nullable=True),
    sa.Column("routes", sa.JSON, nullable=False),
    sa.Column("availability_zone_hints", sa.JSON, nullable=False),
)

agents = sa.Table(
    "agents",
    metadata,
    _id(),
    sa.Column("agent_type", sa.String(64), nullable=False),
    sa.Column("host", Host, nullable=False),
    sa.Column("binary", sa.String(64), nullable=False),
    sa.Column("availability_zone", sa.String(255), nullable=False, server_default=""),
    sa.Column("admin_state_up", sa.Boolean, nullable=False),
    sa.Column("draining", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("description", Name, nullable=False, server_default=""),
    # the last heartbeat document (haqn.documents.Heartbeat), so that a dead agent can still be described
    sa.Column("heartbeat", sa.JSON, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("started_at", sa.DateTime, nullable=False),
    # when its lease was last seen to begin or to end
    sa.Column("heartbeat_timestamp", sa.DateTime, nullable=False),
    sa.UniqueConstraint("agent_type", "host"),
)

pairs = sa.Table(
    "pairs",
    metadata,
    # from haqn.model.FIRST_PAIR_ID upwards and never used again (sequences.name == 'pair')
    sa.Column("id", BigId, primary_key=True, autoincrement=False),
    sa.Column("active_agent_id", Uuid, sa.ForeignKey("agents.id"), nullable=False, index=True),
    sa.Column("backup_agent_id", Uuid, sa.ForeignKey("agents.id"), nullable=False, index=True),
    sa.Column("vr_id", sa.Integer, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
)

bindings = sa.Table(
    "bindings",
    metadata,
    sa.Column("router_id", Uuid, sa.ForeignKey("routers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("pair_id", BigId, sa.ForeignKey("pairs.id"), index=True),
    sa.Column("agent_id", Uuid, sa.ForeignKey("agents.id"), index=True),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.CheckConstraint("(pair_id IS NULL) <> (agent_id IS NULL)", name="one_target"),
)

# An operator's wish (POST /agents/{id}/l3-routers): the API writes it, the planner obeys it.
pins = sa.Table(
    "pins",
    metadata,
    sa.Column("router_id", Uuid, sa.ForeignKey("routers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("agent_id", Uuid, sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("created_at", sa.DateTime, nullable=False),
)

# The opposite wish (DELETE /agents/{id}/l3-routers/{router_id}): the router is to leave the agent.
exclusions = sa.Table(
    "exclusions",
    metadata,
    sa.Column("router_id", Uuid, sa.ForeignKey("routers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("agent_id", Uuid, sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("created_at", sa.DateTime, nullable=False),
)

# One row: who may write pairs and bindings. A writer compares the epoch in its own transaction.
leadership = sa.Table(
    "leadership",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("holder", Host, nullable=False),
)

sequences = sa.Table(
    "sequences",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("next_value", sa.BigInteger, nullable=False),
)

# Written in the transaction of each change of desired state; tells the leader that there is news.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", BigId, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("object_id", sa.String(64), nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sqlite_autoincrement=True,
)

# Each plan that did something, with the view that it was made from, so that it can be replayed.
plans = sa.Table(
    "plans",
    metadata,
    sa.Column("id", BigId, primary_key=True, autoincrement=True),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("document", sa.JSON, nullable=False),
    sqlite_autoincrement=True,
)

floatingips = sa.Table(
    "floatingips",
    metadata,
    _id(),
    *_standard(),
    _ref("floating_network_id", "networks.id"),
    # the port on the external network that holds the address
    _ref("floating_port_id", "ports.id"),
    sa.Column("floating_ip_address", Ip, nullable=False, index=True),
    _ref("port_id", "ports.id", nullable=True),
    sa.Column("fixed_ip_address", Ip),
    _ref("router_id", "routers.id", nullable=True),
    sa.Column("status", sa.String(16), nullable=False),
    # an address of a port has one floating IP an external network: NULLs are distinct in a unique constraint
    sa.UniqueConstraint("port_id", "fixed_ip_address", "floating_network_id", name="uq_floatingips_association"),
)

# Words that users put on objects of any kind; ids are unique over all kinds.
tags = sa.Table(
    "tags",
    metadata,
    sa.Column("object_id", Uuid, primary_key=True),
    sa.Column("tag", Name, primary_key=True),
)

security_groups = sa.Table(
    "security_groups",
    metadata,
    _id(),
    *_standard(),
    sa.Column("stateful", sa.Boolean, nullable=False),
)

security_group_rules = sa.Table(
    "security_group_rules",
    metadata,
    _id(),
    *_standard(),
    _ref("security_group_id", "security_groups.id", ondelete="CASCADE"),
    _ref("remote_group_id", "security_groups.id", nullable=True, ondelete="CASCADE"),
    sa.Column("direction", sa.String(7), nullable=False),
    sa.Column("ethertype", sa.String(4), nullable=False),
    sa.Column("protocol", sa.String(16)),
    sa.Column("port_range_min", sa.Integer),
    sa.Column("port_range_max", sa.Integer),
    sa.Column("remote_ip_prefix", Cidr),
)

port_security_groups = sa.Table(
    "port_security_groups",
    metadata,
    sa.Column("port_id", Uuid, sa.ForeignKey("ports.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("security_group_id", Uuid, sa.ForeignKey("security_groups.id"), primary_key=True, index=True),
)

# Limits of projects that differ from the defaults; -1: none.
quotas = sa.Table(
    "quotas",
    metadata,
    sa.Column("project_id", Project, primary_key=True),
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("most", sa.Integer, nullable=False),
)

# One row a project, which is locked while its objects are counted.
quota_locks = sa.Table("quota_locks", metadata, sa.Column("project_id", Project, primary_key=True))

# What attributes that extensions add to any object are set to, as JSON in text, so that it can be compared everywhere.
extension_values = sa.Table(
    "extension_values",
    metadata,
    sa.Column("object_id", Uuid, primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

# What operators have asked the leader to do (drain, switchover, rebalance, rebuild), and how far it is.
operations = sa.Table(
    "operations",
    metadata,
    _id(),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    # what it is about, by kind; no references: what was done stays told when the agent is gone
    sa.Column("agent_id", Uuid),
    sa.Column("pair_id", sa.BigInteger),
    sa.Column("router_id", Uuid),
    # one open operation of a kind on a subject; NULL when it is over
    sa.Column("open_key", sa.String(96), unique=True),
    # what is to be done, in order (haqn.scheduler.view.Step)
    sa.Column("steps", sa.JSON, nullable=False),
    # places of the steps that were carried out
    sa.Column("carried_out", sa.JSON, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),
    sa.Column("waiting_for", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("updated_at", sa.DateTime, nullable=False),
    sa.Column("finished_at", sa.DateTime),
)

# The failover ledger: each time that traffic moved, and each time that it could not.
events = sa.Table(
    "events",
    metadata,
    sa.Column("number", BigId, primary_key=True, autoincrement=True),
    sa.Column("id", Uuid, nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("cause", sa.String(16), nullable=False),
    sa.Column("pair_id", sa.BigInteger, index=True),
    sa.Column("from_agent_id", Uuid),
    sa.Column("to_agent_id", Uuid),
    # the pair's epoch, and the leader's that wrote it
    sa.Column("pair_epoch", sa.BigInteger),
    sa.Column("leader_epoch", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.DateTime, nullable=False, index=True),
    # NULL: it goes on
    sa.Column("ended_at", sa.DateTime, index=True),
    sa.Column("duration_ms", sa.BigInteger),
    # for how long nobody forwarded; NULL: not known yet
    sa.Column("outage_ms", sa.BigInteger),
    sa.Column("routers", sa.Integer, nullable=False),
    sqlite_autoincrement=True,
)

# The routers that rode on an event's pair then; they may be gone by now.
event_routers = sa.Table(
    "event_routers",
    metadata,
    sa.Column("event_number", BigId, sa.ForeignKey("events.number", ondelete="CASCADE"), primary_key=True),
    sa.Column("router_id", Uuid, primary_key=True, index=True),
    sa.Column("project_id", Project, nullable=False, index=True),
)

# Who forwarded last, by the leader's own look: a leader that begins knows what changed before its term.
pair_masters = sa.Table(
    "pair_masters",
    metadata,
    sa.Column("pair_id", BigId, sa.ForeignKey("pairs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    sa.Column("agent_id", Uuid, nullable=False),
)

# What the leader makes of each router's members.
redundancies = sa.Table(
    "redundancies",
    metadata,
    sa.Column("router_id", Uuid, sa.ForeignKey("routers.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("since", sa.DateTime, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    # the agent whose death would take the router down
    sa.Column("last_agent_id", Uuid, index=True),
)

# One row: what the leader says of itself, written when it changes.
monitor_status = sa.Table(
    "monitor_status",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("frozen", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", sa.DateTime, nullable=False),
    # what is held back, and what would be done without the brake: at most so many of each, and how many there are
    sa.Column("document", sa.JSON, nullable=False),
)

# One row: an operator's word that these deaths are to be believed, for so long.
brake_release = sa.Table(
    "brake_release",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("agents", sa.JSON, nullable=False),
    sa.Column("released_at", sa.DateTime, nullable=False),
    sa.Column("expires_at", sa.DateTime, nullable=False),
)
