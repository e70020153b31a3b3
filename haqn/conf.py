"""Every oslo.config option of haqn, in one place.

`etc/haqn/haqn.conf.sample` is generated from `list_opts`; nothing else defines an option.
Durations are seconds unless the name says otherwise.
"""

from __future__ import annotations

import importlib.metadata
import socket
from collections.abc import Sequence

from oslo_config import cfg
from oslo_config import types as cfg_types

from haqn import logs

DEFAULT_OPTS: list[cfg.Opt] = [
    cfg.HostDomainOpt(
        "host",
        default=socket.gethostname(),
        sample_default="<the host's name>",
        help="Name of this host; agents are known by it.",
    ),
    cfg.StrOpt("state_path", default="/var/lib/haqn", help="Directory for what must survive a restart of a process."),
    cfg.StrOpt("run_path", default="/run/haqn", help="Directory for what must not survive a reboot."),
    cfg.StrOpt("templates_path", help="Directory of the Jinja2 templates. Default: those that were installed."),
]

DATABASE_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "connection",
        default="sqlite:////var/lib/haqn/haqn.sqlite",
        secret=True,
        help="SQLAlchemy URL of the database: SQLite, PostgreSQL (psycopg) or MySQL/MariaDB (pymysql).",
    ),
    cfg.IntOpt("max_pool_size", default=5, min=1, help="Connections that a process keeps open."),
]

ETCD_OPTS: list[cfg.Opt] = [
    cfg.ListOpt(
        "endpoints",
        default=["127.0.0.1:2379"],
        help="host:port of each etcd member.",
    ),
    cfg.IntOpt("lease_ttl", default=10, min=2, help="TTL of agents' and monitors' leases; etcd's minimum is 2."),
    cfg.FloatOpt("call_timeout", default=1.5, min=0.1, help="Time for one try of a call on one member."),
    cfg.StrOpt("ca_cert", help="File of the CA certificate; set it to use TLS."),
    cfg.StrOpt("client_cert", help="File of the client certificate."),
    cfg.StrOpt("client_key", help="File of the client's key."),
    cfg.StrOpt("user", help="etcd user."),
    cfg.StrOpt("password", secret=True, help="Password of the etcd user."),
]

API_OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=[
            ("keystone", "tokens of Keystone, checked as [keystone_authtoken] says"),
            ("http_basic", "user and password, checked against http_basic_auth_user_file"),
            ("noauth", "everybody is who they say, and without any identity an admin: for loopback"),
        ],
        help="How it is found out who asks.",
    ),
    cfg.BoolOpt(
        "allow_noauth_anywhere",
        default=False,
        help="Serve with auth_strategy noauth on an address other than loopback, too. Everybody who reaches it is "
        "an admin.",
    ),
    cfg.StrOpt(
        "http_basic_auth_user_file",
        default="/etc/haqn/htpasswd",
        help="Users of http_basic and their passwords, by bcrypt alone (`htpasswd -B`).",
    ),
    cfg.ListOpt(
        "http_basic_admins",
        default=["admin"],
        help="Users of http_basic that are admins. Every other one is a member of the project with the user's name.",
    ),
    cfg.HostAddressOpt("bind_host", default="127.0.0.1", help="Address to listen on."),
    cfg.PortOpt("bind_port", default=9696, help="Port to listen on."),
    cfg.IntOpt("workers", default=2, min=1, help="gunicorn worker processes."),
    cfg.IntOpt("threads", default=4, min=1, help="Threads of each worker."),
    cfg.IntOpt("request_timeout", default=30, min=1, help="Seconds that one request may take, its transfer included."),
    cfg.FloatOpt(
        "project_rate",
        default=50.0,
        min=0.0,
        help="Requests a second that a project may send to this host; 0: no limit. Health, metrics and looking at "
        "agents do not count.",
    ),
    cfg.IntOpt("project_burst", default=200, min=1, help="Requests that a project may send at once."),
    cfg.FloatOpt("address_rate", default=200.0, min=0.0, help="The same from one client address; 0: no limit."),
    cfg.IntOpt("address_burst", default=1000, min=1, help="Requests that may come from one address at once."),
    cfg.StrOpt("tls_cert", help="File of the certificate (with its chain) to serve by TLS with."),
    cfg.StrOpt("tls_key", help="File of the certificate's key."),
    cfg.StrOpt("tls_client_ca", help="File of the CA whose certificates clients must show. Default: none need."),
    cfg.IntOpt("max_body_size", default=1048576, min=1024, help="Largest request body, in bytes."),
    cfg.StrOpt("base_mac", default="fa:16:3e:00:00:00", help="First three octets of generated MAC addresses."),
    cfg.BoolOpt("default_ha", default=True, help="Value of `ha` for routers that do not say."),
    cfg.IntOpt("vni_min", default=1, min=1, max=16777215, help="First VXLAN id to allocate."),
    cfg.IntOpt("vni_max", default=65535, min=1, max=16777215, help="Last VXLAN id to allocate."),
    cfg.IntOpt("physical_network_mtu", default=1500, min=68, help="MTU of the underlay and of flat networks."),
]

QUOTA_OPTS: list[cfg.Opt] = [
    cfg.IntOpt("quota_network", default=100, min=-1, help="Networks that a project may have; -1: no limit."),
    cfg.IntOpt("quota_subnet", default=100, min=-1, help="Subnets that a project may have; -1: no limit."),
    cfg.IntOpt("quota_subnetpool", default=-1, min=-1, help="Subnet pools that a project may have; -1: no limit."),
    cfg.IntOpt("quota_port", default=500, min=-1, help="Ports that a project may have; -1: no limit."),
    cfg.IntOpt("quota_router", default=10, min=-1, help="Routers that a project may have; -1: no limit."),
    cfg.IntOpt("quota_floatingip", default=50, min=-1, help="Floating IPs that a project may have; -1: no limit."),
    cfg.IntOpt("quota_security_group", default=10, min=-1, help="Security groups of a project; -1: no limit."),
    cfg.IntOpt("quota_security_group_rule", default=100, min=-1, help="Rules of all of them; -1: no limit."),
]

MONITOR_OPTS: list[cfg.Opt] = [
    cfg.IntOpt("advert_interval_ms", default=100, min=10, max=10000, help="VRRP advertisement interval of pairs."),
    cfg.IntOpt("scatter_width", default=4, min=1, help="Largest number of peers over which an agent's routers spread."),
    cfg.FloatOpt(
        "max_dead_fraction",
        default=0.3,
        min=0.0,
        max=1.0,
        help="Hold all changes when more than this part of the agents (and at least two) seem dead at once.",
    ),
    cfg.FloatOpt("poll_interval", default=1.0, min=0.1, help="How often the outbox is read when no nudge comes."),
    cfg.HostAddressOpt("metrics_host", default="127.0.0.1", help="Address to serve metrics of the monitor on."),
    cfg.PortOpt("metrics_port", default=9797, min=0, help="Port to serve them on; 0: none."),
    cfg.IntOpt("keep_plans", default=1000, min=0, help="Number of plans kept for replay."),
    cfg.IntOpt("keep_events", default=10000, min=100, help="Number of failovers kept in the ledger."),
    cfg.IntOpt("pace", default=20, min=1, help="Routers that drains and other operations move at the same time."),
    cfg.BoolOpt(
        "enable_new_agents",
        default=True,
        help="Whether agents that are seen for the first time may be given work; else an operator enables them.",
    ),
]

AGENT_OPTS: list[cfg.Opt] = [
    cfg.ListOpt(
        "roles",
        default=["l3", "bridge"],
        item_type=cfg_types.String(choices=["l3", "bridge"]),
        help="What this agent does: l3 (hosts routers), bridge (plugs ports bound to this host).",
    ),
    cfg.StrOpt(
        "backend",
        default="linuxbridge",
        help="How networks are carried, ports plugged and routers hosted: linuxbridge, noop (does nothing, says that "
        "all is done and needs no root: to try the API out), or what another package brings (entry point group "
        "haqn.agent.backends).",
    ),
    cfg.StrOpt("ha_address", default="", help="Address of this host that VRRP peers send to."),
    cfg.StrOpt("tunnel_address", default="", help="VXLAN tunnel endpoint. Default: ha_address."),
    cfg.DictOpt(
        "physical_networks", default={}, help="Physical network -> interface that flat networks are bridged to."
    ),
    cfg.DictOpt(
        "uplink_targets",
        default={},
        help="Physical network -> address beyond it (such as its gateway's) that is asked for by ARP or ND. A host "
        "where it does not answer yields to one where it does. Default: the carrier alone counts.",
    ),
    cfg.FloatOpt(
        "uplink_probe_interval",
        default=1.0,
        min=0.1,
        help="Seconds between two of these, the same on all hosts. Three in a row are a verdict, which moves traffic "
        "after four more.",
    ),
    cfg.StrOpt("availability_zone", default="nova", help="Zone that this host fails with."),
    cfg.IntOpt("max_routers", min=0, help="Most routers that this agent takes. Default: no limit."),
    cfg.IntOpt(
        "memory_reserve",
        default=128,
        min=0,
        help="MiB of memory that must be available on the host (MemAvailable of /proc/meminfo) for this agent to take "
        "more routers; those that it has stay. 0: however little is.",
    ),
    cfg.ListOpt("allowed_routers", default=[], help="Routers (ids) that this agent takes. Default: all."),
    cfg.ListOpt("allowed_networks", default=[], help="Gateway networks (ids) that this agent takes. Default: all."),
    cfg.IntOpt(
        "workers",
        default=1,
        min=1,
        help="Routers that are worked on at once. The kernel changes links of one namespace at a time, so that more of "
        "them mostly wait for each other, and take more processor time.",
    ),
    cfg.HostAddressOpt("metrics_host", default="127.0.0.1", help="Address to serve metrics of the agent on."),
    cfg.PortOpt("metrics_port", default=9798, min=0, help="Port to serve them on; 0: none."),
    cfg.IntOpt("gate_lease_ms", default=3000, min=1500, help="Kernel lease of an open gate; refreshed each second."),
    cfg.FloatOpt(
        "audit_interval",
        default=60.0,
        min=1.0,
        help="Within this time everything that the agent has made is compared with the kernel again.",
    ),
    cfg.StrOpt(
        "failover_python", default="/usr/bin/python3", help="Interpreter of the failover program and the advertiser."
    ),
    cfg.StrOpt(
        "supervisor",
        default="none",
        choices=["none", "systemd"],
        help="Who owns keepalived, the failover program and the advertiser, which outlive the agent: none (each has a "
        "session of its own) or systemd (haqn-keepalived.service, haqn-failover.service, haqn-advertiser.service). The "
        "systemd unit of the agent sets it.",
    ),
]

GROUPS: dict[str, list[cfg.Opt]] = {
    "DEFAULT": DEFAULT_OPTS,
    "database": DATABASE_OPTS,
    "etcd": ETCD_OPTS,
    "api": API_OPTS,
    "quotas": QUOTA_OPTS,
    "monitor": MONITOR_OPTS,
    "agent": AGENT_OPTS,
}


def version() -> str:
    """The version of the installed package."""
    return importlib.metadata.version("haqn")


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """What oslo-config-generator asks for."""
    return list(GROUPS.items())


def load(arguments: Sequence[str] | None = None, *, prog: str = "haqn", **overrides: object) -> cfg.ConfigOpts:
    """Read the configuration (`--config-file`, else /etc/haqn/haqn.conf where it exists).

    `overrides` are `group__option=value`. Raises oslo.config's own errors, which name the option.
    """
    conf = cfg.ConfigOpts()
    for group, options in GROUPS.items():
        conf.register_opts(options, group=None if group == "DEFAULT" else group)
    logs.register(conf)
    conf(list(arguments or []), project="haqn", prog=prog)
    for name, value in overrides.items():
        group, _, option = name.rpartition("__")
        conf.set_override(option, value, group=group or None)
    return conf
