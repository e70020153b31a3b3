"""Quantum v1.0 and v1.1 on the data of v2.0."""

from __future__ import annotations

import uuid

import pytest

UNKNOWN = str(uuid.uuid4())
#: fault -> status and name in v1.0, status and type in v1.1
FAULTS = {
    "networkNotFound": (420, 404, "NetworkNotFound"),
    "networkInUse": (421, 409, "NetworkInUse"),
    "portNotFound": (430, 404, "PortNotFound"),
    "requestedStateInvalid": (431, 400, "RequestedStateInvalid"),
    "portInUse": (432, 409, "PortInUse"),
    "alreadyAttached": (440, 409, "AlreadyAttached"),
    "badRequest": (400, 400, "BadRequest"),
    "unauthorized": (401, 401, "Unauthorized"),
}


class V1:
    def __init__(self, api, version):
        self.api = api
        self.version = version

    def call(self, method, path, status, body=None, headers=None):
        result = self.api.client.simulate_request(
            method, f"/{self.version}/tenants/t1/networks{path}", json=body, headers=headers
        )
        assert result.status_code == status, result.text
        return result.json if result.content else None

    def fails(self, fault, method, path, body=None, headers=None):
        old, new, kind = FAULTS[fault]
        answer = self.call(method, path, old if self.version == "v1.0" else new, body, headers)
        if self.version == "v1.0":
            assert answer[fault]["code"] == old
            assert answer[fault]["detail"]
        else:
            assert answer["QuantumError"]["type"] == kind
            assert answer["QuantumError"]["message"]

    def network(self, name="net"):
        return self.call("POST", "", 200, {"network": {"name": name}})["network"]["id"]

    def port(self, network_id, body=None):
        return self.call("POST", f"/{network_id}/ports", 200, body)["port"]["id"]


@pytest.fixture(params=["v1.0", "v1.1"])
def v1(api, request):
    return V1(api, request.param)


def up(v1):
    return {} if v1.version == "v1.0" else {"op-status": "UP"}


def down(v1):
    return {} if v1.version == "v1.0" else {"op-status": "DOWN"}


def test_networks(v1, api):
    network_id = v1.network()
    shown = api.get(f"networks/{network_id}")["network"]
    assert (shown["name"], shown["tenant_id"]) == ("net", "t1")
    api.post("networks", project_id="t2")
    assert v1.call("GET", "", 200) == {"networks": [{"id": network_id}]}
    assert v1.call("GET", "/detail", 200) == {"networks": [{"id": network_id, "name": "net", **up(v1)}]}
    assert v1.call("GET", f"/{network_id}.json", 200) == {"network": {"id": network_id, "name": "net", **up(v1)}}
    v1.call("PUT", f"/{network_id}", 204, {"network": {"name": "other"}})
    detail = v1.call("GET", f"/{network_id}/detail", 200)["network"]
    assert detail == {"id": network_id, "name": "other", **up(v1), "ports": []}
    v1.port(network_id)
    v1.call("DELETE", f"/{network_id}", 204)
    api.get(f"networks/{network_id}", 404)


def test_ports_and_attachments(v1, api):
    network_id = v1.network()
    first = v1.port(network_id)
    second = v1.port(network_id, {"port": {"state": "DOWN"}})
    path = f"/{network_id}/ports"
    assert {port["id"] for port in v1.call("GET", path, 200)["ports"]} == {first, second}
    assert v1.call("GET", f"{path}/{second}", 200) == {"port": {"id": second, "state": "DOWN", **down(v1)}}
    v1.call("PUT", f"{path}/{second}", 204, {"port": {"state": "ACTIVE"}})
    assert api.get(f"ports/{second}")["port"]["admin_state_up"] is True

    attachment = f"{path}/{first}/attachment"
    assert v1.call("GET", attachment, 200) == {"attachment": {}}
    v1.call("PUT", attachment, 204, {"attachment": {"id": "vif1"}})
    v1.call("PUT", attachment, 204, {"attachment": {"id": "vif1"}})
    assert v1.call("GET", attachment, 200) == {"attachment": {"id": "vif1"}}
    assert api.get("ports", device_id="vif1")["ports"][0]["id"] == first
    assert v1.call("GET", f"{path}/{first}/detail", 200)["port"]["attachment"] == {"id": "vif1"}
    assert {port["id"]: port.get("attachment") for port in v1.call("GET", f"{path}/detail", 200)["ports"]} == {
        first: {"id": "vif1"},
        second: None,
    }
    v1.fails("portInUse", "PUT", attachment, {"attachment": {"id": "vif2"}})
    v1.fails("alreadyAttached", "PUT", f"{path}/{second}/attachment", {"attachment": {"id": "vif1"}})
    v1.fails("portInUse", "DELETE", f"{path}/{first}")
    v1.fails("networkInUse", "DELETE", f"/{network_id}")
    v1.call("DELETE", attachment, 204)
    v1.call("DELETE", f"{path}/{first}", 204)
    api.get(f"ports/{first}", 404)


def test_what_is_wrong_is_a_fault(v1, api):
    network_id, other = v1.network(), api.post("networks", project_id="t2")["id"]
    port_id = v1.port(network_id)
    elsewhere = api.post("ports", network_id=other, project_id="t1")["id"]
    for missing in (UNKNOWN, other, "name"):
        v1.fails("networkNotFound", "GET", f"/{missing}")
        v1.fails("networkNotFound", "DELETE", f"/{missing}")
        v1.fails("networkNotFound", "POST", f"/{missing}/ports")
    for missing in (UNKNOWN, elsewhere, "name"):
        v1.fails("portNotFound", "GET", f"/{network_id}/ports/{missing}")
        v1.fails("portNotFound", "PUT", f"/{network_id}/ports/{missing}/attachment", {"attachment": {"id": "x"}})
    v1.fails("requestedStateInvalid", "PUT", f"/{network_id}/ports/{port_id}", {"port": {"state": "UP"}})
    v1.fails("requestedStateInvalid", "POST", f"/{network_id}/ports", {"port": {"state": ""}})
    for body in ({}, {"network": {}}, {"network": {"name": 1}}, {"network": []}, [], "x"):
        v1.fails("badRequest", "POST", "", body)
        v1.fails("badRequest", "PUT", f"/{network_id}", body)
    v1.fails("badRequest", "PUT", f"/{network_id}/ports/{port_id}/attachment", {"attachment": {"id": ""}})
    v1.fails("unauthorized", "GET", "", None, {"X-Project-Id": "t2", "X-Roles": "member"})
    assert v1.call("GET", "", 200, None, {"X-Project-Id": "t1", "X-Roles": "member"})


def test_a_router_holds_its_network(v1, api):
    network_id = v1.network()
    subnet = api.post("subnets", network_id=network_id, cidr="10.0.0.0/24")
    router = api.post("routers")
    added = api.act(f"routers/{router['id']}/add_router_interface", subnet_id=subnet["id"])
    v1.fails("networkInUse", "DELETE", f"/{network_id}")
    v1.fails("portInUse", "DELETE", f"/{network_id}/ports/{added['port_id']}")
    v1.fails("portInUse", "DELETE", f"/{network_id}/ports/{added['port_id']}/attachment")


def test_quotas_hold(v1, api):
    api.call("PUT", "quotas/t1", 200, {"quota": {"network": 1, "port": 1}})
    network_id = v1.network()
    v1.port(network_id)
    v1.call("POST", "", 409, {"network": {"name": "more"}})
    v1.call("POST", f"/{network_id}/ports", 409)
    assert len(v1.call("GET", f"/{network_id}/ports", 200)["ports"]) == 1


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
def test_a_tenant_that_cannot_be(api, version):
    for rest in ("networks", "networks/detail"):
        assert api.client.simulate_get(f"/{version}/tenants/a%00/{rest}").status_code == 400
