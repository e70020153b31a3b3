"""Who asks: the identity that a trusted proxy put into the request's headers, and the request's own id."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The identity behind one request. Without any identity header everybody is admin (auth_strategy noauth)."""

    project_id: str = ""
    user_id: str = ""
    roles: frozenset[str] = frozenset({"admin"})
    request_id: str = field(default_factory=lambda: f"req-{uuid.uuid4()}")

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles

    @property
    def viewer(self) -> str | None:
        """The project whose view of the world holds; None: an admin's, who sees everything."""
        return None if self.is_admin else self.project_id

    @classmethod
    def from_headers(cls, header: Callable[[str], str | None]) -> Context:
        """`header` looks a header up by name. One identity header is an identity: then the roles count, if any."""
        roles, project_id, user_id = (header(name) for name in ("X-Roles", "X-Project-Id", "X-User-Id"))
        if roles is None and project_id is None and user_id is None:
            return cls()
        words = frozenset(role.strip().lower() for role in (roles or "").split(","))
        return cls(project_id=(project_id or "")[:255], user_id=(user_id or "")[:255], roles=words)
