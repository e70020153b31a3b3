"""A small REST client for the lab, the demo and the tests: one connection, JSON, NeutronError as an exception.

Not for use by several threads at once; each takes a client of its own.
"""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from haqn.exceptions import HaqnError

Resource = dict[str, Any]
_TIMEOUT = 60.0


class ApiError(HaqnError):
    """The API answered with an error: its HTTP status, and the type and message of the NeutronError."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(f"{status} {kind}: {message}")
        self.status = status
        self.kind = kind
        self.message = message


class Client:
    """Calls the Neutron v2.0 API at `url`. ApiError where it refuses, OSError where nothing answers."""

    def __init__(self, url: str, timeout: float = _TIMEOUT) -> None:
        parts = urlsplit(url)
        if parts.hostname is None:
            raise ValueError(f"cannot find a host in {url!r}")
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, method: str, path: str, body: object = None) -> Resource:
        """One call; `path` begins with /. An empty answer is an empty dict."""
        data = None if body is None else json.dumps(body)
        try:
            status, answer = self._exchange(method, path, data)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if method != "GET":
                raise
            # the server had closed the idle connection
            status, answer = self._exchange(method, path, data)
        except http.client.HTTPException as error:
            raise OSError(f"cannot understand the answer to {method} {path}: {error}") from error
        if status >= 400:
            raise _error(status, answer)
        decoded = json.loads(answer) if answer.strip() else None
        return decoded if isinstance(decoded, dict) else {}

    def create(self, resource: str, attributes: Resource) -> Resource:
        """POST one `resource` (singular: network, subnet, port, router, ...)."""
        return self._one(resource, self.request("POST", f"/v2.0/{resource}s", {resource: attributes}))

    def create_many(self, resource: str, attributes: list[Resource]) -> list[Resource]:
        """POST several at once: all of them or none."""
        answer = self.request("POST", f"/v2.0/{resource}s", {f"{resource}s": attributes})
        created: list[Resource] = answer[f"{resource}s"]
        return created

    def show(self, resource: str, resource_id: str) -> Resource:
        return self._one(resource, self.request("GET", f"/v2.0/{resource}s/{quote(resource_id)}"))

    def find(self, resource: str, **filters: object) -> list[Resource]:
        """Those that match the filters; `resource` may be a path such as routers/<id>/l3-agents without its s."""
        query = f"?{urlencode(filters, doseq=True)}" if filters else ""
        answer = self.request("GET", f"/v2.0/{resource}s{query}")
        found: list[Resource] = next(value for key, value in answer.items() if not key.endswith("_links"))
        return found

    def update(self, resource: str, resource_id: str, attributes: Resource) -> Resource:
        answer = self.request("PUT", f"/v2.0/{resource}s/{quote(resource_id)}", {resource: attributes})
        return self._one(resource, answer)

    def delete(self, resource: str, resource_id: str) -> None:
        self.request("DELETE", f"/v2.0/{resource}s/{quote(resource_id)}")

    def add_interface(self, router_id: str, subnet_id: str) -> Resource:
        """Attach the subnet to the router, at the subnet's gateway address."""
        return self.request("PUT", f"/v2.0/routers/{router_id}/add_router_interface", {"subnet_id": subnet_id})

    def hosting_agents(self, router_id: str) -> list[Resource]:
        """The L3 agents that host the router, each with its `ha_state`."""
        return self.find(f"routers/{router_id}/l3-agent")

    def _exchange(self, method: str, path: str, data: str | None) -> tuple[int, bytes]:
        try:
            self._connection.request(method, path, data, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    @staticmethod
    def _one(resource: str, answer: Resource) -> Resource:
        found: Resource = answer[resource]
        return found


def _error(status: int, answer: bytes) -> ApiError:
    try:
        neutron_error = json.loads(answer)["NeutronError"]
        return ApiError(status, neutron_error["type"], neutron_error["message"])
    except (ValueError, KeyError, TypeError):
        return ApiError(status, "NoNeutronError", answer[:200].decode(errors="replace"))
