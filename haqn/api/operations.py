"""`haqn/operations`: what operators ask the leader to do, and how far it is.

POST `{"operation": {"kind": "drain", "agent_id": ...}}`, `switchover` (pair_id, and agent_id for who is to be active;
or agent_id alone: all pairs that it leads), `rebalance` (dry_run, true by default), `rebuild` (router_id). To ask again
for what is asked for already answers with the operation that is open. PUT `{"operation": {"state": "running"}}`
approves a proposed rebalance; `"cancelled"` ends an operation, and gives a drained agent back.
"""

from __future__ import annotations

from haqn.api.attributes import REQUIRED, Attribute, Attributes
from haqn.api.kinds import Boolean, Integer, Kind, Nullable, Text, Timestamp, Uuid
from haqn.api.resource import Resource
from haqn.db import operations
from haqn.scheduler.operations import OperationKind, OperationState

_WISHES = (str(OperationState.RUNNING), str(OperationState.CANCELLED))

OPERATION = Resource(
    collection="operations",
    store=operations.STORE,
    for_admins=True,
    create=operations.create,
    update=operations.change,
    attributes=Attributes(
        "operation",
        (
            Attribute(name="id", kind=Uuid()),
            Attribute(name="kind", kind=Text(choices=tuple(map(str, OperationKind))), post=True, default=REQUIRED),
            Attribute(name="state", kind=Text(choices=_WISHES), put=True),
            Attribute(name="agent_id", kind=Nullable(Uuid()), post=True),
            Attribute(name="pair_id", kind=Nullable(Integer()), post=True),
            Attribute(name="router_id", kind=Nullable(Uuid()), post=True),
            Attribute(name="dry_run", kind=Boolean(), post=True, default=True, shown=False),
            Attribute(name="steps", kind=Kind()),
            Attribute(name="carried_out", kind=Kind()),
            Attribute(name="total", kind=Integer()),
            Attribute(name="done", kind=Integer()),
            Attribute(name="waiting_for", kind=Text()),
            Attribute(name="created_at", kind=Timestamp()),
            Attribute(name="updated_at", kind=Timestamp()),
            Attribute(name="finished_at", kind=Nullable(Timestamp())),
        ),
    ),
)
