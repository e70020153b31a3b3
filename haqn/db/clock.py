"""Timestamps as the tables keep them: UTC, without zone, in whole seconds. For people; nothing is decided by them."""

from __future__ import annotations

import datetime


def utcnow() -> datetime.datetime:
    """The present second, as a column `DateTime` takes it."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None, microsecond=0)
