"""The error tree. Class names of API errors are Neutron's own, because clients decide by them.

One place maps these to HTTP (`haqn.api.errors`) and one to retries; nothing here knows either.
"""

from __future__ import annotations


class HaqnError(Exception):
    """Base of everything that haqn raises on purpose."""


# -- coordination -------------------------------------------------------------------------


class CoordinationError(HaqnError):
    """Base of what can go wrong with etcd."""


class Unavailable(CoordinationError):
    """No endpoint answered before the deadline; nothing was changed."""


class OutcomeUnknown(Unavailable):
    """A write was sent and no answer came: it may have been applied, or may be yet."""


class NotLeader(CoordinationError):
    """This process is not, or no longer, the leader; nothing was changed."""


# -- documents and control plane ------------------------------------------------------------


class InvalidDocument(HaqnError):
    """A JSON document does not have the shape that it should have."""


class StaleLeader(HaqnError):
    """The SQL epoch has moved on: another monitor leads; nothing was changed."""


# -- host ---------------------------------------------------------------------------------


class HostError(HaqnError):
    """The kernel or a daemon of this host refused something; says what was tried."""
