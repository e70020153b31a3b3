"""A lab's etcd with authentication: each program has a user of its own with the least rights (haqn.coordination.roles).

Set up as doc/security.md tells an operator to. The passwords are known, because nothing in a lab is worth one.
"""

from __future__ import annotations

from haqn.coordination import roles
from haqn.lab.command import run
from haqn.lab.spec import Kind, LabSpec

_ROOT = "root"


def credentials(user: str) -> str:
    """`user:password`, as etcdctl takes it."""
    return f"{user}:{_password(user)}"


def for_etcdctl(spec: LabSpec) -> dict[str, str]:
    """Of the environment: what etcdctl needs to find this lab's etcd, and to be allowed everything there."""
    found = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": ",".join(spec.etcd_endpoints)}
    return {**found, "ETCDCTL_USER": credentials(_ROOT)} if spec.etcd_auth else found


def options(spec: LabSpec, user: str) -> dict[str, str]:
    """Of [etcd], for a program that is this user."""
    return {"user": user, "password": _password(user)} if spec.etcd_auth else {}


def require(spec: LabSpec) -> None:
    """From now on etcd lets nobody in but its users; it must run, and there must be none yet."""
    wanted = roles.roles(host.name for host in spec.of_kind(Kind.NETWORK, Kind.COMPUTE))
    setup = roles.script(wanted, {name: _password(name) for name in wanted})
    root = f"etcdctl user add {credentials(_ROOT)}\netcdctl user grant-role {_ROOT} {_ROOT}\netcdctl auth enable\n"
    endpoints = f"ETCDCTL_ENDPOINTS={','.join(spec.etcd_endpoints)}"
    run(["env", endpoints, "sh", "-eu"], text=setup + root)


def _password(user: str) -> str:
    return f"{user}-of-the-lab"
