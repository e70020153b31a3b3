"""The one door to etcd3 and grpc: message classes, service stubs, connections.

Knows how to connect to one member with etcd3; knows nothing of retries, endpoints or
haqn's types. No object from here may leave `haqn.coordination`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import haqn.coordination.protobuf_shim  # noqa: F401 (for its effect, before etcd3)

# isort: split
import etcd3
import grpc
from etcd3 import etcdrpc as rpc

#: etcd drops a client that pings more often than every 5 s; without ping_timeout_ms grpcio
#: waits 60 s for the answer to a ping. Retries are haqn's own, so that each is counted.
_GRPC_OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    ("grpc.http2.ping_timeout_ms", 4_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", 64 << 20),
)

#: etcd computes a slow hash for each password (bcrypt: 0.1 s of a core, one after the other), so that many clients
#: that come at once wait for each other, although etcd is well; one that gives up early makes it work for nothing.
_AUTHENTICATION = 5.0

RpcError = grpc.RpcError
#: A generated protobuf message, or a stub: etcd3 has no types.
Message = Any

__all__ = ["Connection", "Credentials", "Message", "NoAnswer", "RpcError", "connect", "rpc", "status"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How to prove who we are; file names, None where not used."""

    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    user: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """A channel to one member with its stubs, and the metadata that each call must carry."""

    endpoint: str
    #: what etcd gave for user and password; None without a user
    token: str | None
    metadata: tuple[tuple[str, str], ...]
    kv: Message
    lease: Message
    watch: Message


class NoAnswer(grpc.RpcError):  # type: ignore[misc] # grpc has no types
    """Time has run out before anything was sent."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def details(self) -> str:
        return "another thread is still connecting"


def connect(endpoint: str, credentials: Credentials, timeout: float, token: str | None = None) -> Connection:
    """Connect to `host:port` within `timeout` seconds, and authenticate unless there is a token already.

    A member that has answered may take longer for that.

    Raises RpcError when the member cannot be reached or refuses the user, OSError or
    ValueError when the certificate files cannot be used.
    """
    host, _, port = endpoint.rpartition(":")
    client = etcd3.client(
        host=host,
        port=port,
        timeout=timeout,
        ca_cert=credentials.ca_cert,
        cert_cert=credentials.client_cert,
        cert_key=credentials.client_key,
        grpc_options=_GRPC_OPTIONS,
    )
    # "hasleader": a member that has lost its leader says so at once instead of serving a watch that is silently stale.
    has_leader = (("hasleader", "true"),)
    # Shows that the member answers, so that no write is the first to find out. It needs no token.
    # (grpc.channel_ready_future would do, but its thread hangs a process that ends soon.)
    client.maintenancestub.Status(rpc.StatusRequest(), timeout, metadata=has_leader)
    if credentials.user is not None and token is None:
        request = rpc.AuthenticateRequest(name=credentials.user, password=credentials.password or "")
        token = rpc.AuthStub(client.channel).Authenticate(request, max(timeout, _AUTHENTICATION)).token
    metadata = has_leader if token is None else (*has_leader, ("token", token))
    return Connection(endpoint, token, metadata, client.kvstub, client.leasestub, rpc.WatchStub(client.channel))


def status(error: grpc.RpcError) -> tuple[str, str]:
    """(name of the status code, details) of what a call raised."""
    return error.code().name, error.details() or ""
