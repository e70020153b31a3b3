"""User, password and TLS in `[database] connection`, with the servers that haqn runs on: nothing goes by plain text."""

from __future__ import annotations

import pathlib
import pwd
import shutil

import pytest
import sqlalchemy as sa

from haqn.db.session import Database
from haqn.exceptions import DatabaseUnavailable
from tests.etcd_cluster import free_ports
from tests.functional.coordination.test_credentials import make_certificates
from tests.sql_servers import MariaDB, PostgreSQL


class SecurePostgreSQL(PostgreSQL):
    """Also listens on TCP: by TLS, with a password."""

    tls = "sslmode=verify-full&sslrootcert={ca}"
    plain = "sslmode=disable"
    ciphers = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

    def prepare(self) -> None:
        super().prepare()
        self.ca = certificates(self)
        (self.port,) = free_ports(1)
        self.socket_name = f".s.PGSQL.{self.port}"
        rules = self.directory / "data" / "pg_hba.conf"
        rules.write_text("hostssl all secure 127.0.0.1/32 scram-sha-256\nlocal all all trust\n")

    @property
    def query(self) -> str:
        return f"host={self.directory}&port={self.port}"

    def command(self) -> list[str]:
        settings = {"ssl": "on", "ssl_cert_file": self.directory / "cert", "ssl_key_file": self.directory / "key"}
        settings |= {"port": self.port, "listen_addresses": "127.0.0.1"}
        return [*super().command(), *(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))]

    def make_user(self) -> None:
        self.execute("CREATE ROLE secure LOGIN PASSWORD 'secret' SUPERUSER")


class SecureMariaDB(MariaDB):
    """Also listens on TCP: by TLS, with a password."""

    tls = "ssl_ca={ca}&charset=utf8mb4"
    plain = "ssl_disabled=true"
    ciphers = "SHOW STATUS WHERE Variable_name = 'Ssl_version'"

    def prepare(self) -> None:
        super().prepare()
        self.ca = certificates(self)
        (self.port,) = free_ports(1)
        (self.directory / "users.sql").write_text(
            "CREATE OR REPLACE USER haqn@localhost;\nGRANT ALL ON *.* TO haqn@localhost WITH GRANT OPTION;\n"
            "CREATE OR REPLACE USER secure@'127.0.0.1' IDENTIFIED BY 'secret' REQUIRE SSL;\n"
            "GRANT ALL ON *.* TO secure@'127.0.0.1';\n"
        )

    def command(self) -> list[str]:
        closed = ("--skip-networking", "--skip-grant-tables")
        return [
            *(option for option in super().command() if option not in closed),
            *("--bind-address=127.0.0.1", f"--port={self.port}", f"--init-file={self.directory}/users.sql"),
            *(f"--ssl-cert={self.directory}/cert", f"--ssl-key={self.directory}/key"),
        ]

    def make_user(self) -> None:
        """The server's first file has done it."""


def certificates(server: PostgreSQL | MariaDB) -> str:
    """A certificate and key that only the server's user reads; the CA's file."""
    made = pathlib.Path(server.directory) / "tls"
    made.mkdir()
    ca, (cert, key), _ = make_certificates(made)
    account = pwd.getpwnam(server.user)
    for source, name in ((cert, "cert"), (key, "key")):
        target = server.directory / name
        shutil.copy(source, target)
        target.chmod(0o600)
        shutil.chown(target, account.pw_uid, account.pw_gid)
    return ca


@pytest.mark.parametrize("kind", [SecurePostgreSQL, SecureMariaDB])
def test_tls_and_password(kind, tmp_path):
    with kind() as server:
        server.make_user()

        def tried(password: str, query: str):
            address = f"{server.driver}://secure:{password}@127.0.0.1:{server.port}/{server.administration}"
            database = Database(f"{address}?{query}")
            try:
                with database.read() as connection:
                    return connection.execute(sa.text(server.ciphers)).first()
            finally:
                database.close()

        tls = server.tls.format(ca=server.ca)
        assert "TLSv1" in str(tried("secret", tls))
        other = tmp_path / "other"
        other.mkdir()
        for password, query in (
            ("wrong", tls),
            ("secret", server.plain),
            ("secret", server.tls.format(ca=make_certificates(other)[0])),
        ):
            with pytest.raises(DatabaseUnavailable):
                tried(password, query)
