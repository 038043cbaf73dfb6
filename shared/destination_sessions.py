"""Opens sessions at a Postgres destination: the writer's pool, and one for a probe or a count."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from shared.destinations import PostgresAddress
from shared.postgres_sessions import CONNECT_TIMEOUT, Sessions

COMMAND_TIMEOUT = 30.0  # seconds


def destination_sessions(
    address: PostgresAddress, password: SecretStr, *, connect_timeout: float = CONNECT_TIMEOUT
) -> Sessions:
    """Return what opens sessions at the address; times in seconds."""

    async def arguments() -> dict[str, Any]:
        return {
            "host": address.host,
            "port": address.port,
            "database": address.database,
            "user": address.user,
            "password": password.get_secret_value(),
            "ssl": address.sslmode,
            "timeout": connect_timeout,
            "command_timeout": COMMAND_TIMEOUT,
            "server_settings": {"application_name": "tillstream"},
        }

    return Sessions(arguments)
