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


class Refused(CoordinationError):
    """etcd has answered no (permission, size, no space ...); the same call would be refused again."""


class LeaseNotFound(Refused):
    """The lease has expired or was revoked."""


class Compacted(Refused):
    """etcd no longer has the history that was asked for."""


# -- SQL ------------------------------------------------------------------------------------


class DatabaseUnavailable(HaqnError):
    """The database cannot be reached or used."""


class WriteConflict(HaqnError):
    """Another writer was in the way, or a constraint did not hold; nothing was changed."""


class SchemaOutdated(HaqnError):
    """The database's schema is not the one that this version of haqn needs."""


# -- documents and control plane ------------------------------------------------------------


class InvalidDocument(HaqnError):
    """A JSON document does not have the shape that it should have."""


class StaleLeader(HaqnError):
    """The SQL epoch has moved on: another monitor leads; nothing was changed."""


# -- host ---------------------------------------------------------------------------------


class HostError(HaqnError):
    """The kernel or a daemon of this host refused something; says what was tried."""
