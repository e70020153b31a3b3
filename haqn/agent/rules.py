"""The nftables ruleset of a router's namespace: NAT of floating IPs, source NAT, and silence towards strangers.

Knows what the ruleset was made from and whether it still is; a change of floating IPs is a change of a few elements of
maps, everything else replaces the ruleset in one transaction. Knows nothing of devices and addresses. Called from
several threads, one router at a time each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import jinja2

from haqn.documents import FloatingIp
from haqn.failover.nfnetlink import NfTables
from haqn.linux import nftables, quoted

#: (map or set of the template, what an element of it is)
_ELEMENTS = (
    ("to_fixed", "{float} : {fixed}"),
    ("to_float", "{fixed} : {float}"),
    ("fixed", "{fixed}"),
)
_QUOTED = (
    quoted.translate(nftables.TABLE, "quoted_to_fixed", "to_fixed", quoted.SOURCE),
    quoted.translate(nftables.TABLE, "quoted_to_float", "to_float", quoted.DESTINATION),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A ruleset: what its template was filled in with."""

    #: the text without floating IPs
    base: str
    text: str
    floating_ips: frozenset[FloatingIp]
    #: it needs connection tracking
    tracks: bool


def _command(verb: str, floating_ips: Iterable[FloatingIp]) -> str:
    ordered = sorted(floating_ips, key=lambda one: one.floating_ip_address)
    lines = []
    for name, element in _ELEMENTS if ordered else ():
        elements = ", ".join(
            element.format(float=one.floating_ip_address, fixed=one.fixed_ip_address) for one in ordered
        )
        lines.append(f"{verb} element ip {nftables.TABLE} {name} {{ {elements} }}\n")
    return "".join(lines)


class Rulesets:
    """The rulesets of this host's routers."""

    def __init__(self, templates: jinja2.Environment) -> None:
        self._template = templates.get_template("router.nft.j2")
        #: router -> what its ruleset was made from, as far as this process has made it or looked at it
        self._known: dict[str, Wanted] = {}

    def wanted(self, facts: Mapping[str, object], floating_ips: Iterable[FloatingIp]) -> Wanted:
        """`facts`: see blueprint.rules; floating IPs count only with a gateway."""
        present = frozenset(floating_ips) if facts["gateway_device"] is not None else frozenset()
        ordered = sorted(present, key=lambda one: one.floating_ip_address)
        base = self._template.render(**facts, translates=bool(ordered), floating_ips=())
        text = self._template.render(**facts, translates=True, floating_ips=ordered) if ordered else base
        tracks = facts["gateway_device"] is not None and bool(facts["enable_snat"] or ordered)
        return Wanted(base, text, present, tracks)

    def apply(self, router_id: str, wanted: Wanted, *, fresh: bool) -> list[str]:
        """Make the ruleset so, in the namespace that the calling thread is in; returns what was changed.

        Raises HostError.
        """
        with NfTables() as tables:
            if not fresh and nftables.is_sealed(tables, wanted.text):
                self._known[router_id] = wanted
                return []
            self._change(tables, self._known.pop(router_id, None), wanted, fresh=fresh)
        self._known[router_id] = wanted
        return ["change the ruleset"]

    @staticmethod
    def _change(tables: NfTables, before: Wanted | None, wanted: Wanted, *, fresh: bool) -> None:
        if not fresh and before is not None and before.base == wanted.base and nftables.is_sealed(tables, before.text):
            commands = _command("delete", before.floating_ips - wanted.floating_ips)
            commands += _command("add", wanted.floating_ips - before.floating_ips)
            nftables.change_ruleset(tables, before.text, wanted.text, commands)
        else:
            nftables.replace_ruleset(tables, wanted.text, _QUOTED if wanted.floating_ips else (), fresh=fresh)

    def forget(self, router_id: str) -> None:
        """The router is gone."""
        self._known.pop(router_id, None)
