"""Users and TLS, each with a small cluster of its own."""

import datetime
import ipaddress
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from haqn.coordination.client import Etcd
from haqn.coordination.informer import Informer
from haqn.coordination.session import Session
from haqn.exceptions import CoordinationError, Refused, Unavailable
from tests.etcd_cluster import EtcdCluster
from tests.eventually import eventually
from tests.functional.coordination.recorder import Calls

pytestmark = pytest.mark.functional

ROOT = {"user": "root", "password": "secret"}


@pytest.fixture
def guarded(tmp_path):
    """A member with users: root may do everything, guest nothing."""
    with EtcdCluster(tmp_path, size=1) as cluster:
        for order in (
            ("user", "add", "root:secret"),
            ("user", "grant-role", "root", "root"),
            ("user", "add", "guest:guest"),
            ("auth", "enable"),
        ):
            cluster.etcdctl(*order)
        yield cluster


def test_token_is_renewed_without_the_caller_noticing(guarded):
    etcd = Etcd(guarded.endpoints, **ROOT)
    calls = Calls()
    session = Session(etcd, 3, on_lost=calls.on("lost"))
    session.register("/s/a", b"")
    informer = Informer(etcd, "/i/")
    session.start()
    informer.start()
    assert session.wait(10)
    assert informer.synced.wait(10)
    for number in range(3):
        # Each change of the auth store makes all tokens invalid.
        guarded.etcdctl("--user", "root:secret", "user", "add", f"user{number}:x")
        etcd.put(f"/i/{number}", b"")
        eventually(lambda: len(informer.cache()) == number + 1)  # noqa: B023 (ends within the pass)
    assert session.valid
    assert calls.all == []
    informer.stop()
    session.stop()
    etcd.close()


def authentications(cluster):
    """How many times the member has checked a password, as it counts itself."""
    (member,) = cluster.members
    text = requests.get(f"{member.client_url}/metrics", timeout=30).text
    found = re.search(r'^grpc_server_started_total\{grpc_method="Authenticate",[^}]*\} (\d+)$', text, re.MULTILINE)
    return int(found[1])


def test_a_process_shows_its_password_once_however_many_threads_come_back(guarded):
    """A password costs etcd 0.1 s of a core; a connection, or a call that takes too long, must not cost another one."""
    etcd = Etcd(guarded.endpoints, call_timeout=10.0, deadline=60.0, **ROOT)
    before = authentications(guarded)

    def all_at_once():
        with ThreadPoolExecutor(16) as threads:
            return list(threads.map(lambda number: etcd.put(f"/{number}", b""), range(16)))

    assert len(all_at_once()) == 16
    assert authentications(guarded) == before + 1
    # a connection that was lost
    endpoint = etcd.connections.current_endpoint
    lost = etcd.connections.get(endpoint, 10.0)
    etcd.connections.drop(endpoint, lost, rotate=True)
    all_at_once()
    made = etcd.connections.get(endpoint, 10.0)
    assert made is not lost
    assert authentications(guarded) == before + 1
    # who comes late with bad news of the lost one takes nothing from those who have another one
    etcd.connections.drop(endpoint, lost, rotate=True)
    assert etcd.connections.get(endpoint, 10.0) is made
    etcd.close()


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        ({}, "user name is empty"),
        ({"user": "root", "password": "wrong"}, "authentication failed"),
        ({"user": "guest", "password": "guest"}, "permission denied"),
    ],
)
def test_who_may_not_is_told_at_once(guarded, credentials, message):
    etcd = Etcd(guarded.endpoints, **credentials)
    with pytest.raises(Refused, match=message):
        etcd.put("/a", b"")
    etcd.close()


def test_tls_with_client_certificate(tmp_path):
    ca, server, client = make_certificates(tmp_path)
    credentials = {"ca_cert": ca, "client_cert": client[0], "client_key": client[1]}
    extra = ["--cert-file", server[0], "--key-file", server[1], "--trusted-ca-file", ca, "--client-cert-auth"]
    with EtcdCluster(tmp_path, size=1, scheme="https", extra=extra, credentials=credentials) as cluster:
        with cluster.client() as etcd:
            etcd.put("/a", b"secret")
            assert etcd.get("/a").value == b"secret"
        for incomplete in ({}, {"ca_cert": ca}):
            etcd = Etcd(cluster.endpoints, deadline=0.5, **incomplete)
            with pytest.raises(Unavailable):
                etcd.get("/a")
            etcd.close()
    with pytest.raises(CoordinationError, match="nowhere"):
        Etcd(["127.0.0.1:1"], ca_cert=str(tmp_path / "nowhere")).get("/a")


def make_certificates(folder):
    """A CA and certificates for server and client: (ca, (cert, key), (cert, key)), all file names."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    ca_cert = _certificate(ca_name, ca_name, ca_key, ca_key, is_ca=True)
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(ca_cert.public_bytes(serialization.Encoding.PEM))
    pairs = []
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
        certificate = _certificate(subject, ca_name, key, ca_key, is_ca=False)
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        pairs.append((str(cert_file), str(key_file)))
    return str(ca_file), *pairs


def _certificate(subject, issuer, key, signing_key, *, is_ca):
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
