"""Real PostgreSQL and MariaDB servers on Unix sockets in temporary directories.

They run as the users that Debian's packages made for them, and die with the process that started them.
"""

from __future__ import annotations

import itertools
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence

import sqlalchemy as sa

from haqn.lab import processes
from tests.eventually import eventually

_POSTGRESQL_PROGRAMS = pathlib.Path("/usr/lib/postgresql")
_MARIADB_OPTIONS = (
    "--no-defaults",
    "--skip-networking",
    "--skip-grant-tables",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--max-connections=200",
)


class SqlServer:
    """One server process; use it as a context manager. `durable=False` trades safety for speed."""

    user: str
    #: SQLAlchemy's name of dialect and driver
    driver: str
    socket_name: str
    #: the database that is there from the beginning
    administration: str
    creation: str = ""

    def __init__(self, *, durable: bool = False) -> None:
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="haqn-sql-", dir="/tmp"))
        shutil.chown(self.directory, self.user, pwd.getpwnam(self.user).pw_gid)
        self.durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def __enter__(self) -> SqlServer:
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def prepare(self) -> None:
        """Make the empty data directory."""
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        """What runs the server in the foreground."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user(), "--pdeathsig", "KILL", *self.command()],
                cwd=self.directory,
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, timeout=120)

    def kill(self) -> None:
        """kill -9 of the server, with the processes that serve its clients; its data stay."""
        if self._process is None:
            return
        serving = processes.with_descendants(
            list(filter(None, map(processes.read, processes.all_pids()))), self._process.pid
        )
        processes.kill(lambda: list(filter(None, (processes.read(process.pid) for process in serving))))
        self._process.wait()
        self._process = None

    def create_database(self) -> str:
        """A new empty database; its URL."""
        name = f"haqn{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}{self.creation}")
        return self.url(name)

    def url(self, database: str) -> str:
        return f"{self.driver}://haqn@/{database}?{self.query}"

    def execute(self, statement: str) -> None:
        """One statement outside of any transaction, as the administrator."""
        engine = sa.create_engine(self.url(self.administration), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)

    @property
    def query(self) -> str:
        """The part of the URL that says where the socket is."""
        raise NotImplementedError

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "log").read_text()
        try:
            # a plain socket first: the MariaDB driver leaves its own open when nobody listens
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.directory / self.socket_name))
            self.execute("SELECT 1")
        except (OSError, sa.exc.OperationalError):
            return False
        return True

    def _as_user(self) -> list[str]:
        account = pwd.getpwnam(self.user)
        return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [*self._as_user(), *command], cwd=self.directory, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


class PostgreSQL(SqlServer):
    user = "postgres"
    driver = "postgresql+psycopg"
    socket_name = ".s.PGSQL.5432"
    administration = "postgres"

    @property
    def query(self) -> str:
        return f"host={self.directory}"

    @property
    def _programs(self) -> pathlib.Path:
        return max(_POSTGRESQL_PROGRAMS.glob("*/bin"), key=lambda path: int(path.parent.name))

    def prepare(self) -> None:
        initdb = str(self._programs / "initdb")
        self._run(initdb, "-D", "data", "-U", "haqn", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")

    def command(self) -> Sequence[str]:
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.directory), "max_connections": "200"}
        if not self.durable:
            settings |= {"fsync": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", "data", *options]


class MariaDB(SqlServer):
    user = "mysql"
    driver = "mysql+pymysql"
    socket_name = "socket"
    administration = "mysql"
    creation = " CHARACTER SET utf8mb4"

    @property
    def query(self) -> str:
        return f"unix_socket={self.directory}/{self.socket_name}&charset=utf8mb4"

    def prepare(self) -> None:
        self._run(
            "mariadb-install-db",
            *_MARIADB_OPTIONS[:1],
            f"--datadir={self.directory}/data",
            "--skip-test-db",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=16M",
            "--innodb-flush-log-at-trx-commit=0",
        )

    def command(self) -> Sequence[str]:
        durability = () if self.durable else ("--innodb-flush-log-at-trx-commit=0",)
        return [
            "mariadbd",
            *_MARIADB_OPTIONS,
            f"--datadir={self.directory}/data",
            f"--socket={self.directory}/socket",
            *durability,
        ]
