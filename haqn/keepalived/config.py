"""pairs -> keepalived.conf(5). Pure but for reading the template; validates everything that enters the file.

Knows pairs and this host's addresses; knows nothing of routers, so that no router ever reloads keepalived.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

import jinja2

from haqn.documents import PairDocument
from haqn.exceptions import InvalidDocument
from haqn.model import CLOSED_GROUP, FIRST_PAIR_ID, MAX_VR_ID
from haqn.scheduler import priorities

_DEVICE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}")
_PATH = re.compile(r"/[A-Za-z0-9/._-]+")
_PROGRAM = re.compile(r"[A-Za-z0-9/._ -]+")
_INSTANCE = re.compile(r"^vrrp_instance P(\d+) \{[^}]*?^ *virtual_router_id (\d+)$", re.MULTILINE)
_ADVERT_STEP_MS, _MAX_ADVERT_MS = 10, 40950


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """What of this host enters keepalived.conf."""

    host: str
    ha_address: str
    ha_interface: str
    uplinks: tuple[str, ...]
    pairs_directory: str
    fifo: str
    #: the failover program's command line, to which a verb and arguments are added
    program: str
    gate_lease_ms: int


def virtual_address(pair_id: int) -> str:
    """An address in 127.64.0.0/10 (RFC 1122 section 3.2.1.3: never outside a host) for the pair."""
    return str(ipaddress.IPv4Address(int(ipaddress.IPv4Address("127.64.0.0")) + pair_id % 2**22))


def _check(ok: object, message: str) -> None:
    if not ok:
        raise InvalidDocument(f"cannot write keepalived.conf: {message}")


def check_pair(pair: PairDocument) -> None:
    """Raises InvalidDocument, which names the field, for a pair that must not enter the file."""
    _check(FIRST_PAIR_ID <= pair.pair_id < CLOSED_GROUP, f"pair_id {pair.pair_id} is out of range")
    _check(1 <= pair.vr_id <= MAX_VR_ID, f"vr_id {pair.vr_id} of pair {pair.pair_id} is not in 1..255")
    step = pair.advert_interval_ms % _ADVERT_STEP_MS == 0
    _check(
        step and _ADVERT_STEP_MS <= pair.advert_interval_ms <= _MAX_ADVERT_MS,
        f"advert_interval_ms {pair.advert_interval_ms} of pair {pair.pair_id} is not a multiple of 10 up to 40950",
    )
    try:
        ipaddress.IPv4Address(pair.peer_address)
    except ValueError as error:
        raise InvalidDocument(f"cannot write keepalived.conf: peer_address of pair {pair.pair_id}: {error}") from error


def instances(text: str) -> dict[int, int]:
    """Virtual router id -> pair, of a file that `render` has made."""
    return {int(vr_id): int(pair) for pair, vr_id in _INSTANCE.findall(text)}


def render(templates: jinja2.Environment, settings: HostSettings, pairs: Iterable[PairDocument]) -> str:
    """The file's text: the same pairs in any order give the same bytes. Raises InvalidDocument."""
    ordered = sorted(pairs, key=lambda pair: pair.pair_id)
    _check(_HOST.fullmatch(settings.host), f"host name {settings.host!r}")
    for device in (settings.ha_interface, *settings.uplinks):
        _check(_DEVICE.fullmatch(device), f"device name {device!r}")
    _check(len(settings.uplinks) <= priorities.MAX_UPLINKS, f"{len(settings.uplinks)} uplinks are too many")
    for path in (settings.pairs_directory, settings.fifo):
        _check(_PATH.fullmatch(path), f"path {path!r}")
    _check(_PROGRAM.fullmatch(settings.program), f"program {settings.program!r}")
    seen: dict[int, int] = {}
    for pair in ordered:
        check_pair(pair)
        other = seen.setdefault(pair.vr_id, pair.pair_id)
        _check(other == pair.pair_id, f"pairs {other} and {pair.pair_id} have the same vr_id {pair.vr_id}")
    return templates.get_template("keepalived.conf.j2").render(
        host=settings.host,
        fifo=settings.fifo,
        program=settings.program,
        pairs_directory=settings.pairs_directory,
        gate_lease_ms=settings.gate_lease_ms,
        pairs=ordered,
        ha_interface=settings.ha_interface,
        ha_address=str(ipaddress.IPv4Address(settings.ha_address)),
        uplinks=settings.uplinks,
        base_priority=priorities.base(len(settings.uplinks)),
        uplink_weight=priorities.uplink_weight(len(settings.uplinks)),
        level_weight=priorities.LEVEL,
        virtual_address=virtual_address,
    )
