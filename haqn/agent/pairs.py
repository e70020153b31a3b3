"""This host's half of its pairs: the gate table, role files, keepalived, and what VRRP says.

Knows pairs; knows nothing of routers. Forwarding decisions are keepalived's and the failover program's alone: here
they are only given priorities, and read.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from haqn.agent.diff import OpenPairs
from haqn.agent.reloads import Reloads
from haqn.agent.uplinks import Uplinks
from haqn.clock import isoformat
from haqn.documents import PairDocument, PairReport
from haqn.exceptions import HaqnError, HostError
from haqn.failover import announce
from haqn.failover.announce import SWITCHES_ONLY
from haqn.failover.gate import Gate
from haqn.failover.levels import BACKUP_LEVEL, DESIGNATED_LEVEL, NO, ORDERED_LEVEL, RETURNING, TO_PEER
from haqn.failover.state import Observed, StateDirectory
from haqn.keepalived import config, supervisor
from haqn.keepalived.daemon import Daemon
from haqn.keepalived.program import Program
from haqn.linux import nftables
from haqn.linux.vrrp import PeerFilter
from haqn.model import FIRST_EPOCH, FIRST_PAIR_ID, Role, VrrpState

LOG = logging.getLogger(__name__)

#: a device group with any of these bits is a pair's (FIRST_PAIR_ID is a power of two) or CLOSED_GROUP
_GATED_BITS = 2**32 - FIRST_PAIR_ID
#: announcements of the routers of a pair for which another member has just spoken
_ANNOUNCEMENTS = 4
#: checks (one a second) without a sign of keepalived after which it counts as frozen
_FROZEN_AFTER = 6
#: seconds of BACKUP after which the peer is trusted to forward
_YIELDED_AFTER = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsSettings:
    """Where things are on this host."""

    run_path: Path
    #: outlives a reboot
    state_path: Path
    host: str
    ha_address: str
    ha_interface: str
    uplinks: tuple[str, ...]
    gate_lease_ms: int
    python: str
    #: who owns keepalived and the failover program
    supervisor: supervisor.Kind = supervisor.Kind.NONE


def make_gate(templates: jinja2.Environment) -> None:
    """Make the gate, shut for every pair, or leave it as it is; it must be there before the first port. HostError."""
    nftables.run(templates.get_template("gate.nft.j2").render(gated=_GATED_BITS, switches_only=SWITCHES_ONLY.hex(":")))


def role_level(document: PairDocument, carried_epoch: int, level: int | None, *, is_master: bool) -> int | None:
    """The role level that the agent writes for this document; None: it leaves what is there.

    Only a newer pair epoch changes a role; within one, the failover program decides, and the agent merely lowers
    the level to "designated" once the peer is known to have given way. A host that comes up anew in an old pair
    claims nothing from a peer that has taken over: it has no level, but it knows the epoch or finds a later one.
    """
    if document.epoch > carried_epoch or level is None:
        if document.role is Role.BACKUP:
            return BACKUP_LEVEL
        returning = is_returning(document, carried_epoch, level)
        return DESIGNATED_LEVEL if document.settled or returning else ORDERED_LEVEL
    if document.role is Role.ACTIVE and document.settled and is_master and level > DESIGNATED_LEVEL:
        return DESIGNATED_LEVEL
    return None


def is_returning(document: PairDocument, carried_epoch: int, level: int | None) -> bool:
    """The host has been in the pair before, or should have been, and knows nothing of it any more: it was rebooted."""
    return level is None and (carried_epoch > 0 or document.epoch > FIRST_EPOCH)


def way_of_yielding(document: PairDocument, carried_epoch: int, level: int | None, present: int, since: str) -> int:
    """Whether the member is to yield, and why (haqn.failover.levels). `present`: as it does now; `since`: of the state
    that keepalived has reported last, empty when there is none.

    Only the leader's word about the very state that the member is in makes it yield: a word that comes late finds
    another state. A host that was rebooted yields until it hears its peer, is told who forwards, or has waited.
    """
    if is_returning(document, carried_epoch, level):
        return RETURNING
    meant = document.role is Role.BACKUP and document.yields != ""
    if present == TO_PEER:
        return TO_PEER if meant else NO
    if meant and document.yields == since:
        return TO_PEER
    return NO if document.role is Role.ACTIVE and document.epoch > carried_epoch else present


class Pairs:
    """All pairs of this host."""

    def __init__(self, settings: PairsSettings, templates: jinja2.Environment, uplinks: Uplinks | None = None) -> None:
        """`uplinks`: what is known of those in the settings besides their carrier."""
        self._settings = settings
        self._uplinks = uplinks
        self._templates = templates
        directory, epochs = settings.run_path / "pairs", settings.state_path / "pairs"
        for path in (directory, epochs):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.state = StateDirectory(str(directory))
        #: of epochs only: a reboot takes all but these away
        self._epochs = StateDirectory(str(epochs))
        owner = supervisor.make(settings.supervisor, settings.run_path)
        self.daemon = Daemon(settings.run_path, settings.state_path / "keepalived.log", supervisor=owner)
        self._fifo = str(settings.run_path / "notify.fifo")
        self._program = Program(
            settings.run_path,
            self.state.path,
            self._fifo,
            settings.python,
            settings.gate_lease_ms,
            supervisor=owner,
        )
        self._peers = PeerFilter()
        self._documents: dict[int, PairDocument] = {}
        self._last_refresh = 0
        self._silent_checks = 0
        self._reloads = Reloads(self.daemon, directory / "checked", self._render)
        #: pair -> (PairDocument.peer_master, keepalived's last check when that was read)
        self._asked: dict[int, tuple[str, int]] = {}
        #: pair -> how often its routers are to be announced again
        self._to_announce: dict[int, int] = {}

    def make_ready(self) -> None:
        """Start the consumer before there is a pair; without success, the first pair will start it."""
        try:
            self._program.ensure_consumer()
        except (HostError, OSError) as error:
            LOG.warning("%s", error)

    def apply(self, documents: Iterable[PairDocument], *, holding: bool) -> dict[str, str]:
        """Carry out the documents; returns pair id -> why it could not be. While holding, no pair is dropped.

        MustWait: roles are carried out, and keepalived is to be reloaded a little later, by another call.
        """
        errors: dict[str, str] = {}
        wanted: dict[int, PairDocument] = {}
        for document in documents:
            try:
                config.check_pair(document)
                wanted[document.pair_id] = document
            except HaqnError as error:
                errors[str(document.pair_id)] = str(error)
        self._documents = wanted
        with self.state.locked():
            for document in wanted.values():
                self._carry_out(document)
        # while holding, a pair that has no document (yet) stays in keepalived.conf
        if not holding or (wanted and not self.state.pairs() - set(wanted)):
            self._apply_daemon(errors)
        if not holding:
            self._forget((self.state.pairs() | self._epochs.pairs()) - set(wanted))
        return errors

    def _carry_out(self, document: PairDocument) -> None:
        pair = document.pair_id
        carried, level = self._epochs.epoch(pair), self.state.role(pair)
        observed = self.state.observed(pair)
        present = self.state.yielding(pair)
        way = way_of_yielding(document, carried, level, present or NO, _since(observed) if observed else "")
        if way != present:
            if way or present:
                LOG.info("pair %d: yields %s -> %d (epoch %d)", pair, present, way, document.epoch)
            self.state.write_yield(pair, way)
        self.state.write_peer(pair, document.peer_address, document.vr_id)
        self.state.write_dead_uplinks(pair, self.state.dead_uplinks(pair) or 0)
        new = role_level(document, carried, level, is_master=self.state.is_master(pair))
        if new is not None and new != level:
            LOG.info("pair %d: role level %s -> %d (epoch %d, %s)", pair, level, new, document.epoch, document.role)
            self.state.write_role(pair, new)
        if document.epoch > carried:
            self._epochs.write_epoch(pair, document.epoch)

    def _apply_daemon(self, errors: dict[str, str]) -> None:
        try:
            if not self._documents:
                self.daemon.stop()
                self._program.stop_consumer()
                return
            # it must be there before keepalived is, to keep the FIFO open
            self._program.ensure_consumer()
            peers = {pair.vr_id: frozenset({pair.peer_address}) for pair in self._documents.values()}
            self._peers.widen(peers)
            self._reloads.apply(self._documents.values())
            self._peers.narrow(peers)
        except (HaqnError, OSError) as error:
            LOG.error("keepalived: %s", error)
            errors.update({str(pair): str(error) for pair in self._documents})

    def _render(self, documents: Iterable[PairDocument]) -> str:
        settings = self._settings
        return config.render(
            self._templates,
            config.HostSettings(
                host=settings.host,
                ha_address=settings.ha_address,
                ha_interface=settings.ha_interface,
                uplinks=settings.uplinks,
                pairs_directory=self.state.path,
                fifo=self._fifo,
                program=self._program.command,
                gate_lease_ms=settings.gate_lease_ms,
            ),
            documents,
        )

    def _forget(self, pairs: set[int]) -> None:
        if not pairs:
            return
        with self.state.locked(), Gate() as gate:
            for pair in pairs:
                gate.close(pair)
                self.state.forget(pair)
                self._epochs.forget(pair)

    def remake_gate(self) -> None:
        """Put the gate's rules in place again, whatever somebody has made of them; gates that are open stay so."""
        make_gate(self._templates)

    def check_health(self) -> None:
        """To be called once a second: make a lost gate again, start keepalived when it died, replace a frozen one.

        Counts calls, not seconds: when this whole host was frozen, keepalived is not to blame.
        """
        with Gate() as gate:
            if not gate.exists():
                LOG.error("somebody has removed the gate (nftables table bridge haqn); making it again")
                make_gate(self._templates)
                self._peers.restore()
        present = self.daemon.configuration()
        if present is None or not self.state.pairs():
            return
        refreshed = self._refreshed()
        self._silent_checks = self._silent_checks + 1 if refreshed == self._last_refresh else 0
        self._last_refresh = refreshed
        if self.daemon.vrrp_pid() is None and self.daemon.pid() is None:
            LOG.warning("keepalived does not run; starting it")
        elif self._silent_checks >= _FROZEN_AFTER:
            LOG.warning("keepalived has not checked its gates for %d s; replacing it", self._silent_checks)
            self.daemon.kill()
        else:
            return
        self._silent_checks = 0
        try:
            self._program.ensure_consumer()
            self.daemon.apply(present)
        except (HostError, OSError) as error:
            LOG.error("keepalived: %s", error)

    def _refreshed(self) -> int:
        """When keepalived's last check began; 0 when there was none. To be compared for equality only."""
        try:
            return (Path(self.state.path) / "refreshed").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def tell_uplinks(self) -> None:
        """Tell keepalived which uplinks lead nowhere. To be called once a second."""
        if self._uplinks is None:
            return
        dead = _leading_nowhere(self._uplinks)
        for pair in self._documents:
            count = len(dead[self.state.is_master(pair)])
            if count != self.state.dead_uplinks(pair):
                LOG.warning("pair %d: %d uplinks with a carrier lead nowhere", pair, count)
                self.state.write_dead_uplinks(pair, count)

    def write_rows(self, by_group: Mapping[int, list[str]], *, keep_others: bool) -> None:
        """What to announce for each pair. `keep_others`: lines about other MACs stay in the files."""
        written = {line.split()[2] for lines in by_group.values() for line in lines}
        for pair in self.state.pairs():
            lines = list(by_group.get(pair, ()))
            if keep_others:
                lines += [line for line in self.state.rows(pair) if line.split()[2] not in written]
            self.state.write_rows(pair, lines)

    def open_pairs(self) -> OpenPairs:
        """What the gates of this host are at this moment: a host that wakes up finds its own shut by the kernel, and
        itself MASTER until keepalived has noticed."""
        observed = {pair: self.state.observed(pair) for pair in self.state.pairs()}
        now = time.time()
        with Gate() as gate:
            masters = (pair for pair, seen in observed.items() if seen and seen.state == VrrpState.MASTER)
            passing = frozenset(pair for pair in masters if gate.is_open(pair))
        return OpenPairs(
            masters=passing,
            yielded=frozenset(
                pair
                for pair, seen in observed.items()
                if seen and seen.state == VrrpState.BACKUP and now - seen.since > _YIELDED_AFTER
            ),
        )

    def report(self) -> list[PairReport]:
        """What VRRP says of each pair that keepalived has spoken of."""
        found = ((document, self.state.observed(pair)) for pair, document in sorted(self._documents.items()))
        with Gate() as gate:
            reports = [self._report(document, seen, gate) for document, seen in found if seen is not None]
        uplinks = self._uplinks
        if uplinks is None:
            return reports
        silent = uplinks.without_carrier()
        dead = _leading_nowhere(uplinks)
        return [
            dataclasses.replace(one, dead_uplinks=tuple(sorted({*silent, *dead[one.state is VrrpState.MASTER]})))
            for one in reports
        ]

    def _report(self, document: PairDocument, observed: Observed, gate: Gate) -> PairReport:
        pair = document.pair_id
        fault = observed.state == VrrpState.FAULT
        return PairReport(
            pair_id=pair,
            state=VrrpState(observed.state),
            since=_since(observed),
            sequence=observed.sequence,
            role=document.role,
            epoch=self._epochs.epoch(pair),
            gate_open=gate.is_open(pair),
            # a FAULT outlasts its reason by a moment
            yielding=bool(self.state.yielding(pair)) or (fault and self.state.released_since(pair, observed.since)),
            peer_master=self._answer(document),
            level=self.state.role(pair) or BACKUP_LEVEL,
        )

    def _answer(self, document: PairDocument) -> str:
        """The answer to `document.peer_master`: keepalived must have run one of its checks since that was read."""
        pair, question = document.pair_id, document.peer_master
        if not question:
            if self._asked.pop(pair, None) is not None and self.state.is_master(pair):
                # the other one has given way; switches may still look for the routers there
                self._to_announce[pair] = _ANNOUNCEMENTS
            return ""
        if self._asked.get(pair, ("", 0))[0] != question:
            self._asked[pair] = (question, self._refreshed())
        return question if self._refreshed() != self._asked[pair][1] else ""

    def announce_again(self) -> None:
        """Announce the routers of pairs that were contested. To be called again and again."""
        if not self._to_announce:
            return
        with Gate() as gate:
            # a keepalived that is frozen still says MASTER when the kernel has shut its gate
            is_open = {pair: self.state.is_master(pair) and gate.is_open(pair) for pair in self._to_announce}
        for pair, times in list(self._to_announce.items()):
            self._to_announce[pair] = times - 1
            if times == 0 or not is_open[pair]:
                del self._to_announce[pair]
                continue
            rows = [announce.Row.parse(line) for line in self.state.rows(pair)]
            # this host's own bridges have learnt from the other member, too
            announce.claim(rows)
            announce.announce(rows)

    def is_busy(self) -> bool:
        """Whether a question is not answered yet, or something is to be announced again."""
        now = self._refreshed()
        return bool(self._to_announce) or any(seen == now for _, seen in self._asked.values())


def _leading_nowhere(uplinks: Uplinks) -> dict[bool, tuple[str, ...]]:
    """What a MASTER is to call dead (True), and what a member that stands by (False)."""
    return {is_master: uplinks.leading_nowhere(is_master=is_master) for is_master in (True, False)}


def _since(observed: Observed) -> str:
    return isoformat(datetime.datetime.fromtimestamp(observed.since, datetime.UTC))
