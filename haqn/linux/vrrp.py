"""Which addresses this host takes VRRP adverts from: nftables' table `ip haqn_vrrp`, in this network namespace.

A rule for each virtual router id drops what does not come from the peer of its pair, so adverts of other routers (an
operator's own keepalived) pass. The whole table changes in one transaction: no advert of a peer is ever in between.
Knows ids and addresses; knows nothing of pairs.
"""

from __future__ import annotations

from collections.abc import Mapping

from haqn.linux import nftables

#: virtual router id -> where its adverts may come from
Peers = Mapping[int, frozenset[str]]


class PeerFilter:
    """What is in force is known once it was set; a table that is not there lets everything pass."""

    def __init__(self) -> None:
        self._present: Peers | None = None

    def widen(self, peers: Peers) -> None:
        """Let these in, too: to be called before keepalived is told of them. Raises HostError."""
        old = self._present or {}
        self._set({vr_id: addresses | old.get(vr_id, frozenset()) for vr_id, addresses in peers.items()})

    def narrow(self, peers: Peers) -> None:
        """Let nobody else in: to be called once keepalived uses no others. Raises HostError."""
        self._set(dict(peers))

    def restore(self) -> None:
        """Somebody has removed the table: make it again. Raises HostError."""
        present, self._present = self._present, None
        if present is not None:
            self._set(present)

    def _set(self, peers: Peers) -> None:
        if peers != self._present:
            nftables.run(render(peers))
            self._present = peers


def render(peers: Peers) -> str:
    """nft's commands, which replace all rules at once; the same peers give the same text."""
    lines = [
        "add table ip haqn_vrrp",
        "add chain ip haqn_vrrp input { type filter hook input priority -150; policy accept; }",
        "flush chain ip haqn_vrrp input",
    ]
    # RFC 5798 section 5.2.3: the id is the second octet after the IP header
    lines += [
        f"add rule ip haqn_vrrp input meta l4proto 112 fib daddr type local @th,8,8 {vr_id} "
        f"ip saddr != {{ {', '.join(sorted(addresses))} }} counter drop"
        for vr_id, addresses in sorted(peers.items())
    ]
    return "\n".join(lines) + "\n"
