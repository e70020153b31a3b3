"""Which requests get to an object at all, by the policy; what may be written to it is in `haqn.db.access`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import falcon

from haqn.api import policies
from haqn.api.context import Context, Scope
from haqn.api.endpoints import context_of
from haqn.api.kinds import is_uuid
from haqn.api.resource import Resource
from haqn.db import access
from haqn.db.session import Database
from haqn.exceptions import PolicyNotAuthorized

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """Middleware: 404 for an object that the caller does not see, and 403 for what it may not do.

    It knows objects by their place in the URI (`/v2.0/<collection>/{object_id}...`), so that no endpoint can be
    forgotten. Who owns an object never changes, so this need not be part of the request's own transaction.
    Quantum v1 asks by itself, because its errors have another form.
    """

    def __init__(self, resources: Sequence[Resource], added: Sequence[policies.Rule], database: Database) -> None:
        self._resources = {resource.path: resource for resource in resources}
        self._rules = policies.by_request(resources, added)
        self._database = database

    def process_resource(
        self, request: falcon.Request, _response: falcon.Response, _resource: object, params: Mapping[str, str]
    ) -> None:
        template = request.uri_template or ""
        rule = policies.rule_for(self._rules, request.method, template)
        if rule is None or template.startswith("/v1."):
            return
        context, parts = context_of(request), template.split("/")
        resource = self._resources.get(parts[2]) if "{object_id}" in template else None
        is_list = request.method in _READING and len(parts) == 3 and parts[2] in self._resources
        if resource is not None:
            self._check_object(context, resource, params["object_id"], request, rule)
        # whoever sees nothing gets an empty list
        elif not context.may(rule) and not is_list:
            raise PolicyNotAuthorized(action=rule)
        elif context.scope(rule) is Scope.OWN and not _is_own_place(context, params):
            raise PolicyNotAuthorized(action=f"{rule} of another project")

    def _check_object(
        self, context: Context, resource: Resource, object_id: str, request: falcon.Request, rule: str
    ) -> None:
        template, store = request.uri_template or "", resource.store
        seen, allowed = context.scope(f"get_{resource.name}"), context.scope(rule)
        if seen is Scope.ALL and allowed is Scope.ALL:
            return
        is_own_place = template.endswith("{object_id}") or "/tags" in template
        if seen is Scope.NONE and not is_own_place:
            raise PolicyNotAuthorized(action=rule)
        if seen is Scope.NONE or not is_uuid(object_id):
            raise store.missing(ascii(object_id[:255])[1:-1])
        with self._database.read() as connection:
            project_id = context.project_id
            visible = access.visible(store.table, project_id)
            if seen is Scope.OWN and not access.meets(connection, store.table, object_id, visible):
                raise store.missing(object_id)
            if allowed is Scope.NONE:
                raise PolicyNotAuthorized(action=rule)
            if allowed is Scope.ALL or request.method in _READING:
                return
            deleting = request.method == "DELETE" and template.endswith("{object_id}")
            owned = access.owned(store.table, project_id, deleting=deleting)
            if not access.meets(connection, store.table, object_id, owned):
                raise PolicyNotAuthorized(action=f"{rule} of another project's {store.kind}")


def _is_own_place(context: Context, params: Mapping[str, str]) -> bool:
    """Whether the URI names nobody else's project, and no object whose owner is not known here."""
    return "object_id" not in params and params.get("project_id", context.project_id) == context.project_id
