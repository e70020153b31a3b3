"""What a lab is made of: its hosts, their addresses, the names of its links and directories.

Pure: the same specification gives the same lab. Starts nothing and asks nothing.
"""

from __future__ import annotations

import enum
import hashlib
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

#: Work directories, one a lab.
BASE_DIR = Path("/var/tmp/haqn-lab")  # noqa: S108 - below it each lab has a directory of mode 0700
#: Link names are `<lab>-under` and `<host>-uplink`, and IFNAMSIZ leaves 15 characters.
_LAB_NAME = re.compile(r"[a-z][a-z0-9]{0,8}")
#: RFC 2544's range: never routed outside of the lab, and wide enough for a thousand routers.
EXTERNAL_CIDR = "198.18.0.0/16"
PHYSICAL_NETWORK = "physnet1"
API_PORT = 9696
ETCD_PORT = 2379

#: The one host that is outside of everything: it stands for the internet.
EXTERNAL_HOST = "ext"

UNDER = "under"
UPLINK = "uplink"

_CONTROL_OFFSET = 10
_NETWORK_OFFSET = 20
_COMPUTE_OFFSET = 120
_EXTERNAL_OFFSET = 250
MAX_HOSTS = 99


class Kind(enum.StrEnum):
    """What a host of the lab is for."""

    SWITCH = "switch"
    CONTROL = "control"
    NETWORK = "network"
    COMPUTE = "compute"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """One host: its name, its purpose and its addresses (empty where it has none)."""

    name: str
    kind: Kind
    address: str = ""
    external_address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSpec:
    """The size and the settings of one lab. `subnet` is the third octet of its underlay, 10.213.<subnet>.0/24."""

    name: str = "haqn"
    subnet: int = 0
    hosts: int = 3
    computes: int = 1
    etcd: int = 1
    #: whether etcd wants users and passwords
    etcd_auth: bool = False
    #: seconds
    lease_ttl: int = 10
    advert_ms: int = 100
    external_cidr: str = EXTERNAL_CIDR

    def __post_init__(self) -> None:
        check_name(self.name)
        if not (0 <= self.hosts <= MAX_HOSTS and 0 <= self.computes <= MAX_HOSTS):
            raise ValueError(f"cannot have more than {MAX_HOSTS} hosts of a kind, nor fewer than none")
        if self.etcd not in (1, 3):
            raise ValueError("etcd must have 1 or 3 members")

    @property
    def work_dir(self) -> Path:
        return work_dir(self.name)

    @property
    def root_link(self) -> str:
        """The link of the machine itself to the underlay, so that clients on it reach API and etcd."""
        return root_link(self.name)

    @property
    def root_address(self) -> str:
        return self.underlay(1)

    @property
    def external_gateway(self) -> str:
        """The external host's address: the gateway of the external network."""
        return str(ipaddress.ip_network(self.external_cidr)[1])

    @property
    def api_url(self) -> str:
        return f"http://{self.underlay(_CONTROL_OFFSET + 1)}:{API_PORT}"

    @property
    def etcd_endpoints(self) -> list[str]:
        """`address:port` of each etcd member."""
        return [f"{host.address}:{ETCD_PORT}" for host in self.of_kind(Kind.CONTROL)]

    def underlay(self, number: int) -> str:
        return f"10.213.{self.subnet}.{number}"

    def host_specs(self) -> list[HostSpec]:
        """Every host but the switch."""

        def several(prefix: str, kind: Kind, count: int, offset: int) -> list[HostSpec]:
            return [
                HostSpec(name=f"{prefix}{number}", kind=kind, address=self.underlay(offset + number))
                for number in range(1, count + 1)
            ]

        return [
            *several("ctl", Kind.CONTROL, self.etcd, _CONTROL_OFFSET),
            *several("net", Kind.NETWORK, self.hosts, _NETWORK_OFFSET),
            *several("cmp", Kind.COMPUTE, self.computes, _COMPUTE_OFFSET),
            HostSpec(
                name=EXTERNAL_HOST,
                kind=Kind.EXTERNAL,
                address=self.underlay(_EXTERNAL_OFFSET),
                external_address=self.external_gateway,
            ),
        ]

    def of_kind(self, *kinds: Kind) -> list[HostSpec]:
        return [host for host in self.host_specs() if host.kind in kinds]

    def host(self, name: str) -> HostSpec:
        """The host of this name; KeyError (naming the hosts there are) without one."""
        for host in self.host_specs():
            if host.name == name:
                return host
        raise KeyError(f"no host {name} in lab {self.name}: {', '.join(host.name for host in self.host_specs())}")


def check_name(name: str) -> None:
    """ValueError unless `name` can name a lab."""
    if not _LAB_NAME.fullmatch(name):
        raise ValueError(f"cannot name a lab {name!r}: at most 9 lower case letters and digits, a letter first")


def work_dir(lab: str) -> Path:
    """Configuration, logs, database, etcd data and state of this lab."""
    return BASE_DIR / lab


def root_link(lab: str) -> str:
    """The machine's own end of its link to the lab's underlay."""
    return f"{lab}-under"


def switch_port(host: str, link: str) -> str:
    """The switch's end of a host's link."""
    return f"{host}-{link}"


def mac_address(lab: str, host: str, link: str) -> str:
    """A host keeps its addresses over a reboot, or its peers' neighbour entries would be wrong for a while."""
    digest = hashlib.sha256(f"{lab}/{host}/{link}".encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (0x02, *digest[:5]))
