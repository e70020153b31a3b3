"""The policy: oslo.policy's rules, turned into "on whose objects may this caller do that".

A rule is asked twice, about an object of the caller's own project and about one of somebody else's, however many
objects there are; which rows that means is `haqn.db.access`'s business. So lists cost no evaluation for each row, and a
rule can only tell objects apart by `project_id` (`doc/adr/0005-policy-by-scope.md`).
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence

from oslo_config import cfg
from oslo_policy import opts, policy

from haqn.api.context import Context, Scope

#: A project that nobody is of: Keystone's ids have no such characters.
_SOMEBODY_ELSE = "\0somebody else"
#: Seconds that an answer holds.
_REMEMBERED = 1.0


class Policy:
    """The rules in force: haqn's defaults, and what the operator's policy file says instead. Thread-safe."""

    def __init__(self, conf: cfg.ConfigOpts, defaults: Sequence[policy.RuleDefault]) -> None:
        opts.set_defaults(conf)
        self._enforcer = policy.Enforcer(conf)
        self._enforcer.register_defaults(defaults)
        # a broken policy file ends the process here, and not with the first request
        self._enforcer.load_rules()
        self._known: dict[Hashable, Scope] = {}
        self._forget_at = 0.0

    def scope(self, rule: str, context: Context) -> Scope:
        """On whose objects the caller may do what `rule` is about; a rule that is not known lets nobody.

        A change of the policy file is obeyed within `_REMEMBERED` seconds: oslo.policy looks at its files with every
        question, which takes as long as all the SQL of a small request.
        """
        now = time.monotonic()
        if now >= self._forget_at:
            self._known, self._forget_at = {}, now + _REMEMBERED
        key = (rule, context.project_id, context.user_id, context.roles)
        known = self._known
        if key not in known:
            known[key] = self._ask(rule, context)
        return known[key]

    def _ask(self, rule: str, context: Context) -> Scope:
        caller = {"project_id": context.project_id, "user_id": context.user_id, "roles": sorted(context.roles)}
        if self._allows(rule, _SOMEBODY_ELSE, caller):
            return Scope.ALL
        return Scope.OWN if self._allows(rule, context.project_id, caller) else Scope.NONE

    def _allows(self, rule: str, project_id: str, caller: Mapping[str, object]) -> bool:
        target = {"project_id": project_id, "tenant_id": project_id}
        return bool(self._enforcer.enforce(rule, target, dict(caller)))
