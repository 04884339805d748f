"""A PostgreSQL server of our own: the one PyPI's pgserver brings, or one that is installed.

Its programs are run directly, as that package's own code changes the machine: it adds a user and
opens directories. The server listens on a socket in its directory only.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

PASSWORD: Final = "pa:ss/w@rd"
_USER: Final = "gatewatch"
_OPTIONS: Final = (
    "-c listen_addresses='' -c fsync=off -c full_page_writes=off -c shared_buffers=16MB "
    "-c max_connections=40 -c log_min_messages=warning"
)
"""The machine stays up while tests run, so nothing has to wait for its disk."""


class UnavailableError(Exception):
    """No server can be started here; says why."""


class PostgreSQLServer:
    """A running server; a context manager. Every test gets a database of its own."""

    def __init__(self) -> None:
        self._account = _account()
        self._directory = Path(tempfile.mkdtemp(prefix="gatewatch-postgresql-"))
        self._data = self._directory / "data"
        self._databases = 0
        self._programs = Path()

    def __enter__(self) -> Self:
        try:
            self._programs = _programs(self._directory, account=self._account)
            password_file = self._directory / "password"
            password_file.write_text(PASSWORD)
            if self._account is not None:
                for path in (self._directory, password_file):
                    os.chown(path, self._account.pw_uid, self._account.pw_gid)
            self._run(
                "initdb",
                f"--pgdata={self._data}",
                f"--username={_USER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            )
            self.start()
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.crash()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._run(
            "pg_ctl",
            f"--pgdata={self._data}",
            f"--log={self._directory / 'log'}",
            "--wait",
            f"--options={_OPTIONS} -k {self._directory}",
            "start",
        )

    def crash(self) -> None:
        """Have all its processes end at once, without writing or saying anything."""
        self._run("pg_ctl", f"--pgdata={self._data}", "--mode=immediate", "--wait", "stop")

    def create_database(self) -> str:
        """Return the name of a new, empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Delete a database and close the connections to it."""
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def url(
        self,
        database: str,
        *,
        scheme: str = "postgresql",
        user: str = _USER,
        password: str = PASSWORD,
    ) -> str:
        """Return the URL of a database."""
        secret = quote(password, safe="")
        return f"{scheme}://{user}:{secret}@/{database}?host={quote(str(self._directory))}"

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """Run a statement and return what it prints, values only."""
        return self._run(
            "psql",
            f"--host={self._directory}",
            f"--username={_USER}",
            f"--dbname={database}",
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            f"--command={statement}",
        )

    def _run(self, program: str, *arguments: str) -> str:
        account = self._account
        output = self._directory / f"{program}.out"
        # Not a pipe: the server would hold it open for as long as it runs.
        with output.open("w") as sink:
            done = subprocess.run(
                [self._programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={"PGPASSWORD": PASSWORD, "PATH": os.defpath, "LC_ALL": "C"},
                cwd=self._directory,
                user=None if account is None else account.pw_uid,
                group=None if account is None else account.pw_gid,
                extra_groups=None if account is None else [],
                timeout=60,
                check=False,
            )
        text = output.read_text().strip()
        if done.returncode:
            raise UnavailableError(f"{program} failed: {text}")
        return text


def _account() -> pwd.struct_passwd | None:
    """Return who runs the server: PostgreSQL refuses root; None: whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise UnavailableError(
            "PostgreSQL does not run as root, and there is no user nobody to run it as"
        ) from None


def _programs(directory: Path, *, account: pwd.struct_passwd | None) -> Path:
    """Return where the server's programs are, copied to where an account may run them."""
    found = _installed()
    if account is None or all(
        path.stat().st_mode & 0o005 == 0o005 for path in (found / "postgres", found, *found.parents)
    ):
        return found
    # The programs look for their libraries beside the package, which is three levels up.
    package, inside = found.parents[1], found.relative_to(found.parents[2])
    copy = directory / "programs"
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, copy / part.name)
    for path in (copy, *copy.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid)
    return copy / inside


def _installed() -> Path:
    package = importlib.util.find_spec("pgserver")
    if package is not None and package.origin is not None:
        programs = Path(package.origin).parent / "pginstall" / "bin"
        if (programs / "postgres").exists():
            return programs
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    on_path = shutil.which("postgres")
    if candidates or on_path:
        return (candidates[-1] if candidates else Path(str(on_path)).resolve()).parent
    raise UnavailableError(
        "there is no PostgreSQL; install the extra test, which brings pgserver, or Debian's "
        "package postgresql"
    )
