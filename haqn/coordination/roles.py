"""The least that each of haqn's processes must be allowed in etcd, as etcd's roles and users. Pure.

An agent writes its own heartbeats and reports and reads its own documents; the API reads everything and wakes the
leader; the monitor writes all of it. A host that was taken over can so neither lead, nor speak for another host, nor
see what others are told.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from haqn.coordination import keys
from haqn.model import AgentType

API, MONITOR = "haqn-api", "haqn-monitor"


@dataclass(frozen=True, slots=True)
class Permission:
    """etcd's: `access` is read, write or readwrite."""

    access: str
    key: str
    prefix: bool = False


def agent_role(host: str) -> str:
    """Name of the role, and of the user, of the agent on `host`."""
    return f"haqn-agent-{host}"


def roles(hosts: Iterable[str]) -> dict[str, list[Permission]]:
    """Role -> what it permits, for the API, the monitors, and the agents on `hosts`."""
    found = {
        API: [Permission("read", keys.ROOT, prefix=True), Permission("readwrite", keys.NUDGE)],
        MONITOR: [Permission("readwrite", keys.ROOT, prefix=True)],
    }
    for host in hosts:
        found[agent_role(host)] = [
            *(Permission("readwrite", keys.agent(agent_type, host)) for agent_type in AgentType),
            Permission("readwrite", keys.observed(host), prefix=True),
            Permission("read", keys.desired(host), prefix=True),
        ]
    return found


def script(wanted: Mapping[str, Iterable[Permission]], passwords: Mapping[str, str]) -> str:
    """A shell script of etcdctl commands that makes the roles, and a user with the name of each.

    Roles and users that are there already keep their passwords, so it may be run again with more hosts. `passwords`: of
    users; one that has none must show a certificate whose common name is the user's (etcd --client-cert-auth).
    """
    lines = [
        "#!/bin/sh -eu",
        "# Run it as etcd's root user (ETCDCTL_USER) on a machine with etcdctl; it holds passwords.",
        "export ETCDCTL_API=3",
    ]
    for role, permissions in wanted.items():
        name = shlex.quote(role)
        lines += ["", f"etcdctl role get {name} >/dev/null 2>&1 || etcdctl role add {name}"]
        for permission in permissions:
            prefix = "--prefix=true " if permission.prefix else ""
            key = shlex.quote(permission.key)
            lines.append(f"etcdctl role grant-permission {prefix}{name} {permission.access} {key}")
        # from stdin, because everybody on the machine sees a command line
        add = f"etcdctl user add --no-password {name}"
        if role in passwords:
            add = f"printf '%s\\n' {shlex.quote(passwords[role])} | etcdctl user add --interactive=false {name}"
        lines += [f"etcdctl user get {name} >/dev/null 2>&1 || {add}", f"etcdctl user grant-role {name} {name}"]
    lines += [
        "",
        "# From then on nobody else gets in (there must be a user root with the role root): etcdctl auth enable",
    ]
    return "\n".join(lines) + "\n"
