"""What haqn-api is configured to refuse: strangers, slow clients, floods, large bodies, plain text."""

import logging
import socket
import time

import bcrypt
import pytest
import requests

from haqn import conf as haqn_conf
from haqn.api import strategy
from haqn.exceptions import ConfigurationRefused
from tests.functional.coordination.test_credentials import make_certificates


@pytest.fixture
def htpasswd(tmp_path):
    file = tmp_path / "htpasswd"
    lines = [f"{user}:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n" for user in ("admin", "alice")]
    file.write_text("".join(lines))
    return file


def test_user_and_password(make_server, htpasswd):
    more = "[DEFAULT]\ndebug = true\n[etcd]\nuser = haqn\npassword = secret\n"
    with make_server(more, auth_strategy="http_basic", http_basic_auth_user_file=htpasswd) as server:

        def call(method, path, auth=None, **more):
            return requests.request(method, f"{server.url}{path}", auth=auth, timeout=30, **more)

        refused = call("GET", "/v2.0/networks", headers={"X-Roles": "admin"})
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="haqn"')
        assert refused.json()["NeutronError"]["type"] == "HTTPUnauthorized"
        for wrong in (("admin", "wrong"), ("nobody", "secret"), ("", ""), ("admin", "x" * 100)):
            assert call("GET", "/v2.0/networks", wrong).status_code == 401
        assert call("GET", "/healthz").status_code == 200
        alice, admin = ("alice", "secret"), ("admin", "secret")
        made_up = {"X-Roles": "admin", "X-Project-Id": "bob"}
        made = call("POST", "/v2.0/networks", alice, json={"network": {"name": "n"}}, headers=made_up)
        network = made.json()["network"]
        assert network["project_id"] == "alice"
        assert "provider:network_type" not in network
        shown = call("GET", f"/v2.0/networks/{network['id']}", admin)
        assert shown.json()["network"]["provider:network_type"]
        log = server.log_file.read_text()
        for answer in (refused, made, shown):
            assert answer.headers["X-Openstack-Request-Id"] in log
        assert f"{made.headers['X-Openstack-Request-Id']} alice alice" in log
        # not even with debug: passwords of the configuration and of requests
        assert ("secret" in log, "YWxpY2U6c2VjcmV0" in log) == (False, False)


@pytest.mark.parametrize("content", ["admin:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n", None])
def test_a_user_file_that_cannot_be_used(tmp_path, content):
    file = tmp_path / "htpasswd"
    if content is not None:
        file.write_text(content)
    conf = haqn_conf.load([], api__auth_strategy="http_basic", api__http_basic_auth_user_file=str(file))
    with pytest.raises(ConfigurationRefused, match="htpasswd"):
        strategy.check(conf)


def test_noauth_is_for_loopback(make_server, caplog):
    server = make_server(auth_strategy="noauth", bind_host="0.0.0.0")
    server.start()
    assert server.process.wait(60) == 1
    assert "everybody who reaches it would be an admin" in server.log_file.read_text()
    for host in ("127.0.0.1", "::1", "localhost"):
        strategy.check(haqn_conf.load([], api__auth_strategy="noauth", api__bind_host=host))
    for host in ("::", "192.0.2.1", "example.org"):
        with pytest.raises(ConfigurationRefused):
            strategy.check(haqn_conf.load([], api__auth_strategy="noauth", api__bind_host=host))
    allowed = {"api__bind_host": "192.0.2.1", "api__allow_noauth_anywhere": True}
    with caplog.at_level(logging.WARNING):
        strategy.check(haqn_conf.load([], api__auth_strategy="noauth", **allowed))
    assert "everybody who reaches 192.0.2.1 is an admin" in caplog.text


def test_tls_with_certificates_of_clients(make_server, tmp_path):
    ca, (cert, key), client = make_certificates(tmp_path)
    server = make_server(tls_cert=cert, tls_key=key, tls_client_ca=ca)
    session = requests.Session()
    # or the environment's own CA would win
    session.trust_env = False
    session.verify, session.cert = ca, client
    server.session = session
    with server:
        assert session.get(f"{server.url}/v2.0/networks", timeout=30).json() == {"networks": []}
        links = session.get(f"{server.url}/", timeout=30).json()["versions"][0]["links"]
        assert links[0]["href"].startswith("https://")
        session.close()
        session.cert = None
        with pytest.raises(requests.ConnectionError):
            session.get(f"{server.url}/v2.0/networks", timeout=30)


def test_slow_clients_are_cut_off_and_large_bodies_refused(make_server):
    """More slow clients than threads: each sends a byte now and then, and others are served within the limit."""
    with make_server(request_timeout=2, threads=2, max_body_size=2048) as server:
        port = int(server.url.rsplit(":", 1)[1])
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(6)]
        began = time.monotonic()
        for each in slow[:3]:
            each.sendall(b"GET /v2.0/networks HTTP/1.1\r\nHost: a\r\nX: ")
        for each in slow[3:]:
            each.sendall(b"POST /v2.0/networks HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{")
        cut = set()
        while len(cut) < len(slow) and time.monotonic() < began + 60:
            for each in set(slow) - cut:
                try:
                    each.sendall(b" ")
                    each.settimeout(0.05)
                    if each.recv(4096) == b"":
                        cut.add(each)
                except TimeoutError:
                    pass
                except OSError:
                    cut.add(each)
        assert len(cut) == len(slow)
        assert requests.get(f"{server.url}/v2.0/networks", timeout=30).status_code == 200
        for each in slow:
            each.close()
        body = b'{"network": {"description": "' + b"x" * 3000 + b'"}}'
        too_large = requests.post(f"{server.url}/v2.0/networks", data=body, timeout=30)
        assert (too_large.status_code, too_large.json()["NeutronError"]["type"]) == (413, "HTTPRequestEntityTooLarge")
        unsized = requests.post(f"{server.url}/v2.0/networks", data=iter([body]), timeout=30)
        assert unsized.status_code in (400, 413)
        assert requests.get(f"{server.url}/v2.0/networks", timeout=30).json() == {"networks": []}


def test_workers_share_limits_and_proxies_tell_who_asks(make_server):
    more = "[oslo_middleware]\nenable_proxy_headers_parsing = true\n"
    limits = {"project_rate": 0.01, "project_burst": 20, "address_rate": 0.01, "address_burst": 40}
    with make_server(more, workers=3, **limits) as server:

        def statuses(path, count, **headers):
            # a connection each: any worker takes it
            return [requests.get(f"{server.url}{path}", headers=headers, timeout=30).status_code for _ in range(count)]

        project = {"X-Project-Id": "a", "X-Roles": "member"}
        first = statuses("/v2.0/networks", 30, **project, **{"X-Forwarded-For": "192.0.2.1"})
        assert (first.count(200), first.count(429)) == (20, 10)
        second = statuses("/v2.0/networks", 30, **{"X-Forwarded-For": "192.0.2.1"})
        assert (second.count(200), second.count(429)) == (10, 20)
        assert statuses("/v2.0/networks", 1, **{"X-Forwarded-For": "192.0.2.2"}) == [200]
        assert set(statuses("/v2.0/agents", 10, **project, **{"X-Forwarded-For": "192.0.2.1"})) == {200}


def test_a_flood_on_one_connection_is_refused_at_the_door(make_server):
    """What follows a refusal on the same connection gets its own answer, whoever sends it."""
    with make_server(workers=1, project_rate=0.01, project_burst=20) as server, requests.Session() as session:

        def ask(method, path, project, **more):
            headers = {"X-Project-Id": project, "X-Roles": "member"}
            return session.request(method, f"{server.url}{path}", headers=headers, timeout=30, **more)

        first = [ask("GET", "/v2.0/networks", "a").status_code for _ in range(30)]
        assert (first.count(200), first.count(429)) == (20, 10)
        assert ask("POST", "/v2.0/networks", "a", json={"network": {"name": "n"}}).status_code == 429
        refused = ask("GET", "/v2.0/networks", "a")
        assert (refused.status_code, refused.json()["NeutronError"]["type"]) == (429, "HTTPTooManyRequests")
        assert 90 < int(refused.headers["Retry-After"]) <= 100
        assert refused.headers["X-Openstack-Request-Id"].startswith("req-")
        assert "Server" not in refused.headers, "not refused at the door, but by a thread"
        assert ask("POST", "/v2.0/networks", "b", json={"network": {"name": "n"}}).status_code == 201
        assert ask("GET", "/v2.0/agents", "a").status_code == 200
        assert ask("DELETE", "/v2.0/networks/n", "a").status_code == 429
        counted = session.get(f"{server.url}/metrics", timeout=30).text.splitlines()
        for method, count in (("GET", 11), ("POST", 1), ("DELETE", 1)):
            sample = f'haqn_api_request_seconds_count{{method="{method}",resource="refused",status="4xx"}}'
            assert f"{sample} {count}.0" in counted
