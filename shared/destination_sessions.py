"""Opens sessions at a Postgres destination: the writer's pool, and one for a probe or a count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr

from shared.certificates import make_context
from shared.destinations import PostgresAddress
from shared.networks import Networks, resolve
from shared.postgres_sessions import CONNECT_TIMEOUT, Sessions

COMMAND_TIMEOUT = 30.0  # seconds


def destination_sessions(
    address: PostgresAddress, password: SecretStr, networks: Networks, *, connect_timeout: float = CONNECT_TIMEOUT
) -> Sessions:
    """Return what opens sessions at the address, where it lies in a network that is allowed; times in seconds.

    Beside what the driver raises, opening raises `NetworkRefusedError`.
    """

    async def ways() -> Sequence[dict[str, Any]]:
        hosts = await resolve(address.host, address.port, networks)
        common = {
            "host": list(hosts),
            "port": address.port,
            "database": address.database,
            "user": address.user,
            "password": password.get_secret_value(),
            "timeout": connect_timeout,
            "command_timeout": COMMAND_TIMEOUT,
            "server_settings": {"application_name": "tillstream"},
        }
        context = make_context(address.host, address.sslmode, address.ca)
        with_tls, without = common | {"ssl": context}, common | {"ssl": False}
        match address.sslmode:
            case "disable":
                return [without]
            case "allow":
                return [without, with_tls]
            case "prefer":
                return [with_tls, without]
        return [with_tls]

    return Sessions(ways)
