"""Which requests of callers that are no admins get to an object at all; what they may write is in `haqn.db.access`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import falcon

from haqn.api.endpoints import context_of
from haqn.api.kinds import is_uuid
from haqn.api.resource import Resource
from haqn.db import access
from haqn.db.session import Database
from haqn.exceptions import PolicyNotAuthorized

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
#: The agent scheduler's parts of a URI.
_SCHEDULING = ("/l3-agents", "/l3-routers", "/dhcp-agents", "/dhcp-networks")


class Guard:
    """Middleware: a caller that is no admin gets 404 for what it does not see, and 403 for what it may not change.

    It knows objects by their place in the URI (`/v2.0/<collection>/{object_id}...`), so that no endpoint can be
    forgotten. Who owns an object never changes, so this need not be part of the request's own transaction.
    """

    def __init__(self, resources: Sequence[Resource], database: Database) -> None:
        self._resources = {resource.path: resource for resource in resources}
        self._database = database

    def process_resource(
        self, request: falcon.Request, _response: falcon.Response, _resource: object, params: Mapping[str, str]
    ) -> None:
        context = context_of(request)
        template = request.uri_template or ""
        if context.is_admin or "{object_id}" not in template:
            return
        resource, object_id = self._resources.get(template.split("/")[2]), params["object_id"]
        if resource is None or any(part in template for part in _SCHEDULING):
            raise PolicyNotAuthorized(action=f"{request.method} of {template}")
        store = resource.store
        if resource.for_admins:
            raise store.missing(ascii(object_id[:255])[1:-1])
        if not is_uuid(object_id):
            return
        with self._database.read() as connection:
            if not access.meets(connection, store.table, object_id, access.visible(store.table, context.project_id)):
                raise store.missing(object_id)
            if request.method in _READING:
                return
            deleting = request.method == "DELETE" and template.endswith("{object_id}")
            owned = access.owned(store.table, context.project_id, deleting=deleting)
            if not access.meets(connection, store.table, object_id, owned):
                raise PolicyNotAuthorized(action=f"{request.method} of another project's {store.kind}")
