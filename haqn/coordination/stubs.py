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

RpcError = grpc.RpcError
#: A generated protobuf message, or a stub: etcd3 has no types.
Message = Any

__all__ = ["Connection", "Credentials", "Message", "RpcError", "connect", "rpc", "status"]


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
    metadata: tuple[tuple[str, str], ...]
    kv: Message
    lease: Message
    watch: Message


def connect(endpoint: str, credentials: Credentials, timeout: float) -> Connection:
    """Connect to `host:port` and authenticate, within `timeout` seconds.

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
        user=credentials.user,
        password=credentials.password,
        grpc_options=_GRPC_OPTIONS,
    )
    # "hasleader": a member that has lost its leader says so at once instead of serving a watch that is silently stale.
    metadata = (("hasleader", "true"), *(client.metadata or ()))
    if credentials.user is None:
        # Authentication has shown that the member answers; else this does, so that no write is the first
        # to find out. (grpc.channel_ready_future would do, but its thread hangs a process that ends soon.)
        client.maintenancestub.Status(rpc.StatusRequest(), timeout, metadata=metadata)
    return Connection(endpoint, metadata, client.kvstub, client.leasestub, rpc.WatchStub(client.channel))


def status(error: grpc.RpcError) -> tuple[str, str]:
    """(name of the status code, details) of what a call raised."""
    return error.code().name, error.details() or ""
