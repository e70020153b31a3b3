"""Who asks: the identity behind one request, and how far its rights reach.

Identity comes from headers that the middleware before (`haqn.api.identity`) has checked, or that a trusted proxy has
set; rights come from the policy (`haqn.api.policy`), which is asked once a request for each rule.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field


class Scope(enum.IntEnum):
    """On whose objects a rule lets a caller act."""

    NONE = 0
    #: on those of the caller's own project
    OWN = 1
    ALL = 2


def _everything(_rule: str, _context: Context) -> Scope:
    return Scope.ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The identity behind one request. haqn itself (`Context()`) may do everything."""

    project_id: str = ""
    user_id: str = ""
    roles: frozenset[str] = frozenset({"admin"})
    #: how far a rule reaches for a caller; asked once for each rule
    judge: Callable[[str, Context], Scope] = _everything
    _judged: dict[str, Scope] = field(default_factory=dict, init=False, repr=False, compare=False)

    def scope(self, rule: str) -> Scope:
        """On whose objects the caller may do what `rule` is about, for instance `get_network`."""
        found = self._judged.get(rule)
        if found is None:
            found = self._judged[rule] = self.judge(rule, self)
        return found

    def may(self, rule: str) -> bool:
        """Whether the caller may do what `rule` is about, on objects of its own at least."""
        return self.scope(rule) is not Scope.NONE

    def viewer(self, rule: str) -> str | None:
        """The project whose objects alone the rule is about; None: everybody's, "": nobody's."""
        scope = self.scope(rule)
        return None if scope is Scope.ALL else self.project_id if scope is Scope.OWN else ""

    @classmethod
    def from_headers(
        cls,
        header: Callable[[str], str | None],
        *,
        authenticated: bool = False,
        judge: Callable[[str, Context], Scope] = _everything,
    ) -> Context:
        """`header` looks a header up by name.

        Where everybody is who they say (not `authenticated`: auth_strategy noauth), no identity header at all means an
        admin, and one of them is an identity: then the roles count, if any. Where identity was checked, rights
        belong to a project: a token for a domain, the system or nothing has none, as in Neutron.
        """
        roles, project_id, user_id = (header(name) for name in ("X-Roles", "X-Project-Id", "X-User-Id"))
        if not authenticated and roles is None and project_id is None and user_id is None:
            return cls(judge=judge)
        words = frozenset(role.strip().lower() for role in (roles or "").split(","))
        if authenticated and not project_id:
            words = frozenset()
        return cls(project_id=(project_id or "")[:255], user_id=(user_id or "")[:255], roles=words, judge=judge)
