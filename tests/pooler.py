"""A real PgBouncer for tests, in front of the server of a given address."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from tests.authority import Authority
from tests.eventually import eventually

SETTINGS = """\
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = plain
auth_file = {users}
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 200
server_lifetime = 3600
ignore_startup_parameters = extra_float_digits
"""
TLS = """\
client_tls_sslmode = require
client_tls_cert_file = {certificate}
client_tls_key_file = {key}
"""


@asynccontextmanager
async def pooled(
    url: str, *, mode: str = "transaction", size: int = 4, authority: Authority | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[str]:
    """Lend an address that reaches the same database through a PgBouncer with so many sessions of the server.

    With an authority it takes TLS alone, with a certificate for localhost. `host` stands in the address.
    """
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    assert program, "There is no pgbouncer on this machine: scripts/pooler installs it, or says how"
    parts = urlsplit(url)
    port = _free_port()
    # Not pytest's folder: PgBouncer does not run as root, and whom it becomes may not look into that.
    with tempfile.TemporaryDirectory(prefix="tillstream-pooler-") as name:
        folder = Path(name)
        settings = SETTINGS.format(
            host=parts.hostname, port=parts.port, own_port=port, users=folder / "users.txt", mode=mode, size=size
        )
        if authority:
            certificate, key = authority.issue(folder, "localhost")
            key.chmod(0o644)
            settings += TLS.format(certificate=certificate, key=key)
        _write(folder, settings, f'"{unquote(parts.username or "")}" "{unquote(parts.password or "")}"\n')
        become = ["-u", "nobody"] if os.getuid() == 0 else []
        with (folder / "log").open("w") as log:
            process = await asyncio.create_subprocess_exec(
                program, "-q", *become, str(folder / "pgbouncer.ini"), stdout=log, stderr=log
            )
        try:
            await eventually(lambda: _listens(port, process, folder / "log"), within=60, what="PgBouncer listens")
            own = f"{parts.netloc.rpartition('@')[0]}@{host}:{port}"
            yield urlunsplit(parts._replace(netloc=own))
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _write(folder: Path, settings: str, users: str) -> None:
    folder.chmod(0o755)
    (folder / "pgbouncer.ini").write_text(settings)
    (folder / "users.txt").write_text(users)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int, process: asyncio.subprocess.Process, log: Path) -> bool:
    assert process.returncode is None, log.read_text()
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
