"""What devstack does with the `openstack` command, over HTTP: starting the command takes longer than the test has.

As a program: `user NAME PASSWORD PROJECT ROLE`, `service NAME TYPE DESCRIPTION`,
`endpoint TYPE REGION INTERFACE=URL...`. Gets or creates; prints the id. Admin by the OS_* of the environment.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import requests

Object = dict[str, Any]


class Identity:
    """Keystone's API as its admin."""

    def __init__(self, url: str, user: str, password: str, project: str) -> None:
        domain = {"name": "Default"}
        body = {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": user, "password": password, "domain": domain}},
            },
            "scope": {"project": {"name": project, "domain": domain}},
        }
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False
        answer = self._session.post(f"{url}/auth/tokens", json={"auth": body}, timeout=60)
        answer.raise_for_status()
        self.token = answer.headers["X-Subject-Token"]
        self._session.headers["X-Auth-Token"] = self.token

    def find(self, collection: str, **filters: str) -> list[Object]:
        answer = self._session.get(f"{self._url}/{collection}", params=filters, timeout=60)
        answer.raise_for_status()
        found: list[Object] = answer.json()[collection]
        return found

    def get_or_create(self, collection: str, values: Object, **filters: str) -> str:
        """The id of the object that the filters find, else of a new one with filters and values."""
        found = self.find(collection, **filters)
        if not found:
            body = {collection.removesuffix("s"): {**filters, **values}}
            answer = self._session.post(f"{self._url}/{collection}", json=body, timeout=60)
            answer.raise_for_status()
            found = list(answer.json().values())
        return str(found[0]["id"])

    def user(self, name: str, password: str, project: str, role: str) -> str:
        domain = {"domain_id": "default"}
        project_id = self.get_or_create("projects", domain, name=project)
        user_id = self.get_or_create("users", {**domain, "password": password}, name=name)
        role_id = self.get_or_create("roles", {}, name=role)
        grant = f"{self._url}/projects/{project_id}/users/{user_id}/roles/{role_id}"
        self._session.put(grant, timeout=60).raise_for_status()
        return user_id

    def service(self, name: str, kind: str, description: str) -> str:
        return self.get_or_create("services", {"name": name, "description": description}, type=kind)

    def endpoint(self, kind: str, region: str, *urls: str) -> str:
        service_id = self.service(kind, kind, "")
        ids = [
            self.get_or_create("endpoints", {"url": url}, service_id=service_id, region_id=region, interface=interface)
            for interface, _, url in (pair.partition("=") for pair in urls)
        ]
        return ids[0]


def _main(verb: str, *arguments: str) -> int:
    names = ("OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME")
    identity = Identity(*(os.environ[name] for name in names))
    verbs = {"user": identity.user, "service": identity.service, "endpoint": identity.endpoint}
    print(verbs[verb](*arguments))
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
