"""Who asks: the identity that a trusted proxy put into the request's headers, and the request's own id."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The identity behind one request. Without any identity headers everybody is admin (auth_strategy noauth)."""

    project_id: str = ""
    user_id: str = ""
    roles: frozenset[str] = frozenset({"admin"})
    request_id: str = field(default_factory=lambda: f"req-{uuid.uuid4()}")

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles

    @classmethod
    def from_headers(cls, header: Callable[[str], str | None]) -> Context:
        """`header` looks a header up by name."""
        roles = header("X-Roles")
        project_id = (header("X-Project-Id") or "")[:255]
        user_id = (header("X-User-Id") or "")[:255]
        if roles is None:
            return cls(project_id=project_id, user_id=user_id)
        words = frozenset(role.strip().lower() for role in roles.split(","))
        return cls(project_id=project_id, user_id=user_id, roles=words)
