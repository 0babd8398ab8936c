"""PostgreSQL, PgBouncer and Redis on loopback, for measurements and tests."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from quantum_control.bench.server_process import ServerProcess, accepts

POSTGRES_USER = "postgres"


class Postgres(ServerProcess):
    """A PostgreSQL of our own; fsync is off, since nothing in it has to survive.

    Parameters
    ----------
    settings
        What differs from PostgreSQL's defaults.
    """

    program = "postgres"
    account = POSTGRES_USER

    def __init__(self, settings: Mapping[str, str | int] | None = None) -> None:
        super().__init__()
        self._settings = {
            "fsync": "off",
            "synchronous_commit": "off",
            "autovacuum": "off",
            **(settings or {}),
        }
        self._data = self.folder / "data"

    @property
    def dsn(self) -> str:
        """How to connect, as the superuser and without a password."""
        return f"host=127.0.0.1 port={self.port} user={POSTGRES_USER} dbname=postgres"

    def command(self) -> list[str]:
        """Program and arguments; makes the data folder first if there is none."""
        if not self._data.exists():
            initdb = self._beside("initdb")
            self.run(
                initdb, "-D", str(self._data), "-U", POSTGRES_USER, "-A", "trust", "--no-sync", "-E", "UTF8"
            )
        options = {
            **self._settings,
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
        }
        settings = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        return [self.binary, "-D", str(self._data), *settings]

    def ready(self) -> bool:
        """Whether it takes connections."""
        check = [
            self._beside("pg_isready"),
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
        ]
        return subprocess.run(check, check=False, capture_output=True).returncode == 0  # noqa: S603 - as above

    def _beside(self, program: str) -> str:
        # The programs of one version are in one folder; of those in a person's PATH some may be wrappers.
        return str(Path(self.binary).resolve().with_name(program))


class Pgbouncer(ServerProcess):
    """A PgBouncer of our own before a PostgreSQL, in transaction mode.

    `admin` may change settings, `viewer` may only look.

    Parameters
    ----------
    server
        What it stands before.
    settings
        What differs from PgBouncer's defaults.
    passwords
        Of the users; where none is given anybody may connect as they like.
    """

    program = "pgbouncer"
    account = POSTGRES_USER

    def __init__(
        self,
        server: Postgres,
        settings: Mapping[str, str | int] | None = None,
        passwords: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._server = server
        self._passwords = dict.fromkeys((POSTGRES_USER, "admin", "viewer"), "") | dict(passwords or {})
        self._authentication = "md5" if passwords else "trust"
        self._settings = {"default_pool_size": 20, **(settings or {})}

    @property
    def dsn(self) -> str:
        """How clients connect."""
        return f"host=127.0.0.1 port={self.port} user={POSTGRES_USER} dbname=postgres"

    @property
    def admin_dsn(self) -> str:
        """How to connect to the admin console."""
        return f"host=127.0.0.1 port={self.port} user=admin dbname=pgbouncer"

    def command(self) -> list[str]:
        """Program and arguments; writes the configuration."""
        self.write("users", "".join(f'"{name}" "{word}"\n' for name, word in self._passwords.items()))
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": self._authentication,
            "auth_file": self.folder / "users",
            "admin_users": "admin",
            "stats_users": "viewer",
            "pool_mode": "transaction",
            "max_client_conn": 500,
            "server_login_retry": 1,
            **self._settings,
        }
        lines = "".join(f"{name} = {value}\n" for name, value in options.items())
        target = f"host=127.0.0.1 port={self._server.port} dbname=postgres"
        self.write("pgbouncer.ini", f"[databases]\npostgres = {target}\n\n[pgbouncer]\n{lines}")
        return [self.binary, "-q", str(self.folder / "pgbouncer.ini")]

    def ready(self) -> bool:
        """Whether it takes connections."""
        return accepts(self.port)


class Redis(ServerProcess):
    """A Redis of our own that keeps nothing on disk."""

    program = "redis-server"
    account = "redis"

    def command(self) -> list[str]:
        """Program and arguments."""
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self.folder}
        return [self.binary, *(part for name, value in options.items() for part in (f"--{name}", str(value)))]

    def ready(self) -> bool:
        """Whether it takes connections."""
        return accepts(self.port)
