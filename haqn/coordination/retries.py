"""What to do about a call that failed. Pure: status names and counts in, a verdict out.

Knows etcd's and gRPC's statuses; knows no clock, no socket and no client.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from haqn.exceptions import Compacted, LeaseNotFound, Refused


class Mode(enum.Enum):
    """How often a call may be sent."""

    #: changes nothing, or nothing that matters when it happens twice
    READ = "read"
    #: a write that may be repeated
    AGAIN = "again"
    #: a write that is sent at most once
    ONCE = "once"


class Remedy(enum.Enum):
    """What may help after an error."""

    OTHER_ENDPOINT = "other endpoint"
    NEW_TOKEN = "new token"  # noqa: S105 (a word, not a password)
    NONE = "none"


class Verdict(enum.Enum):
    """What the caller of a failed try does next."""

    #: drop the connection and ask the next endpoint
    ROTATE = "rotate"
    #: drop the connection and authenticate anew on the same endpoint
    AUTHENTICATE = "authenticate"
    #: etcd has answered no
    REFUSED = "refused"
    #: a write that must not be repeated has no answer
    UNKNOWN = "unknown"


#: UNKNOWN is what etcd answers for its own time-outs ("context deadline exceeded").
_OTHER_ENDPOINT_CODES = frozenset(
    {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL", "UNKNOWN", "RESOURCE_EXHAUSTED"}
)
_TOKEN_TEXTS = ("auth store is old", "user name is empty", "invalid auth token")
#: Full on every member: another endpoint would not help.
_NO_SPACE = "database space exceeded"
#: gRPC says this of a call that never left the machine.
_NEVER_SENT = "failed to connect to all addresses"
_MAX_TOKEN_RENEWALS = 3


def remedy(code: str, details: str) -> Remedy:
    """What may help after a status of this name and text."""
    if code == "UNAUTHENTICATED" or any(text in details for text in _TOKEN_TEXTS):
        return Remedy.NEW_TOKEN
    if _NO_SPACE in details or code not in _OTHER_ENDPOINT_CODES:
        return Remedy.NONE
    return Remedy.OTHER_ENDPOINT


def refusal(code: str, details: str) -> Refused:
    """The exception for an answer that no other endpoint would change."""
    message = f"etcd refuses: {details or code}"
    if "requested lease not found" in details:
        return LeaseNotFound(message)
    if "revision has been compacted" in details:
        return Compacted(message)
    return Refused(message)


@dataclass(slots=True)
class Retries:
    """The state of one call over its tries."""

    mode: Mode
    endpoints: int
    #: a try of a write has no answer: it may have been applied
    maybe_applied: bool = False
    _failures: int = 0
    _token_renewals: int = 0

    def failed(self, code: str, details: str, *, sent: bool) -> Verdict:
        """Note a failed try; `sent` is False when it failed before the request could leave."""
        action = remedy(code, details)
        if action is Remedy.NONE:
            return Verdict.REFUSED
        if action is Remedy.NEW_TOKEN:
            self._token_renewals += 1
            return Verdict.AUTHENTICATE if self._token_renewals <= _MAX_TOKEN_RENEWALS else Verdict.REFUSED
        self._failures += 1
        if sent and self.mode is not Mode.READ and _NEVER_SENT not in details:
            self.maybe_applied = True
            if self.mode is Mode.ONCE:
                return Verdict.UNKNOWN
        return Verdict.ROTATE

    @property
    def all_tried(self) -> bool:
        """Every endpoint has just been tried in vain: time for a short pause."""
        return self._failures > 0 and self._failures % self.endpoints == 0
