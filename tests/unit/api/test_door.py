"""What is refused at the door, and what must take the long way."""

import json

import pytest

from haqn.api.door import Door

THERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
HEAD = b"GET /v2.0/networks HTTP/1.1\r\nHost: a\r\nX-Auth-Token: t\r\n"
REQUEST = HEAD + b"\r\n"


@pytest.fixture
def counted():
    return []


@pytest.fixture
def door(watch, counted):
    door = Door("HTTP_X_AUTH_TOKEN", counted.append, clock=watch)
    door.shut_credential({"HTTP_X_AUTH_TOKEN": "t"}, 1.5)
    return door


def test_who_was_told_to_wait_is_told_so_until_then(door, watch, counted):
    head, _, body = door.refusal(REQUEST, THERE).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    assert status == "HTTP/1.1 429 Too Many Requests"
    assert (headers["Retry-After"], headers["Content-Length"]) == ("2", str(len(body)))
    assert headers["X-Openstack-Request-Id"].startswith("req-")
    assert json.loads(body)["NeutronError"]["type"] == "HTTPTooManyRequests"
    assert counted == ["GET"]
    assert not door.is_open
    watch.now += 1.5
    assert door.refusal(REQUEST, THERE) is None
    assert door.is_open


def test_others_are_let_in(door):
    assert door.refusal(REQUEST.replace(b"Token: t", b"Token: u"), THERE) is None
    assert door.refusal(REQUEST.replace(b"X-Auth-Token: t\r\n", b""), THERE) is None


def test_an_address(door, watch):
    door.shut_address({"REMOTE_ADDR": THERE}, 1.0)
    other = REQUEST.replace(b"Token: t", b"Token: u")
    assert door.refusal(other, THERE) is not None
    assert door.refusal(other, ELSEWHERE) is None
    behind = Door("HTTP_X_AUTH_TOKEN", lambda _: None, by_address=False, clock=watch)
    behind.shut_address({"REMOTE_ADDR": THERE}, 1.0)
    assert behind.is_open


def test_who_shows_nothing_is_nobody(watch):
    door = Door("HTTP_X_AUTH_TOKEN", lambda _: None, clock=watch)
    door.shut_credential({}, 1.0)
    assert door.is_open


POST = HEAD.replace(b"GET", b"POST")


@pytest.mark.parametrize(
    "received",
    [
        POST + b"Content-Length: 2\r\n\r\n{}",
        HEAD + b"content-length: 0\r\nConnection: Keep-Alive\r\n\r\n",
        REQUEST.replace(b"X-Auth-Token: t", b"x-auth-token:\t t \t"),
        REQUEST.replace(b"networks", b"networks?fields=id"),
    ],
)
def test_whole_requests_are_refused(door, received):
    assert door.refusal(received, THERE) is not None


@pytest.mark.parametrize(
    "received",
    [
        b"",
        HEAD,
        REQUEST + b"GET / HTTP/1.1\r\n\r\n",
        POST + b"Content-Length: 3\r\n\r\n{}",
        POST + b"Content-Length: 02\r\n\r\n{}",
        POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n",
        HEAD + b"Expect: 100-continue\r\n\r\n",
        HEAD + b"Connection: close\r\n\r\n",
        HEAD + b"X-Auth-Token: u\r\n\r\n",
        HEAD + b" folded\r\n\r\n",
        HEAD + b"X: \xff\r\n\r\n",
        HEAD + b"X: a\nY: b\r\n\r\n",
        REQUEST.replace(b"GET", b"HEAD"),
        REQUEST.replace(b"1.1", b"1.0"),
        REQUEST.replace(b"/v2.0", b"http://a/v2.0"),
        REQUEST.replace(b"networks", b"n%65tworks"),
        # whoever watches over the system is never refused
        REQUEST.replace(b"networks", b"agents?alive=True"),
        REQUEST.replace(b"/v2.0/networks", b"/healthz"),
    ],
)
def test_what_takes_the_long_way(door, received):
    assert door.refusal(received, THERE) is None


def test_many_at_once_take_the_long_way_until_some_may_come_back(watch):
    door = Door("HTTP_X_AUTH_TOKEN", lambda _: None, clock=watch)
    for number in range(1000):
        door.shut_credential({"HTTP_X_AUTH_TOKEN": str(number)}, 1.0)
    door.shut_credential({"HTTP_X_AUTH_TOKEN": "t"}, 5.0)
    assert door.refusal(REQUEST, THERE) is None
    watch.now += 1.0
    door.shut_credential({"HTTP_X_AUTH_TOKEN": "t"}, 5.0)
    assert door.refusal(REQUEST, THERE) is not None
