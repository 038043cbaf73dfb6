"""Opens psql on the demo's destination, without a password on the screen or in the list of processes."""

from __future__ import annotations

import os
import shutil
from urllib.parse import urlsplit

import typer

from local_stack.postgres import find_binaries
from local_stack.state import read_state
from services.console.running import homes
from shared.errors import ConfigError


def open_psql(context: typer.Context) -> None:
    """Open psql on the demo's destination; arguments are psql's own, such as -c "SELECT …"."""
    urls = (state.addresses.get("destination_url") for home in homes(os.environ) if (state := read_state(home)))
    url = next((found for found in urls if found), None)
    if url is None:
        raise ConfigError("No demo runs on this machine. Start one with `make demo`.")
    parts = urlsplit(url)
    program = shutil.which("psql") or str(find_binaries() / "psql")
    environ = {
        **os.environ,
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port),
        "PGUSER": parts.username or "",
        "PGPASSWORD": parts.password or "",
        "PGDATABASE": parts.path.lstrip("/"),
    }
    os.execvpe(program, [program, *context.args], environ)  # noqa: S606 - psql takes over this process
