"""The whole of Tillstream on one machine: Postgres, Kafka and the four services under one supervisor."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from local_stack.children import Child, ChildEvent
from local_stack.jars import OnProgress
from local_stack.ports import LOOPBACK, choose_ports
from local_stack.readiness import http_ready
from local_stack.stack import LocalStack
from services.console.secrets_file import load_secrets
from shared.db import migrate, require_address

SERVICES = ("webhook-gateway", "sync-worker", "connection-api", "destination-writer")
SIMULATOR = "simulator"
PROGRAM = (sys.executable, "-m", "services")


@dataclass(frozen=True, slots=True)
class Running:
    """A stack that runs, and where its parts are."""

    stack: LocalStack
    home: Path
    api_url: str
    api_token: str
    gateway_url: str
    simulator_url: str


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who wants to hear of downloads and of children."""

    on_progress: OnProgress = lambda progress: None
    on_event: Callable[[ChildEvent], None] = lambda event: None


def home_folder(environ: Mapping[str, str], name: str) -> Path:
    """Return the folder of a stack: `TILLSTREAM_HOME`, or `.tillstream/NAME` where we are."""
    return Path(environ.get("TILLSTREAM_HOME") or Path(".tillstream") / name).absolute()


def homes(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the folders in which a stack of this machine may run."""
    return home_folder(environ, "run"), home_folder(environ, "demo")


@asynccontextmanager
async def running(
    home: Path,
    environ: Mapping[str, str],
    *,
    watchers: Watchers,
    settings: Mapping[str, str],
    simulator: tuple[str, ...] | None = None,
    prepare: Callable[[str], Awaitable[None]] | None = None,
    program: tuple[str, ...] = PROGRAM,
) -> AsyncIterator[Running]:
    """Run everything until the block ends. `settings` are further TILLSTREAM_ variables, without the prefix.

    `simulator` holds the arguments of a Stripe simulator that the services then call instead of Stripe;
    `prepare` is given the database's URL before the migrations run; `program` with a service's name runs that service.
    Raises `ConfigError` with the fix when something can't start.
    """
    if given := environ.get("TILLSTREAM_DATABASE_URL"):
        require_address(given)
    stack = LocalStack(
        home,
        database_url=environ.get("TILLSTREAM_DATABASE_URL"),
        kafka_bootstrap_servers=environ.get("TILLSTREAM_KAFKA_BOOTSTRAP_SERVERS"),
        on_progress=watchers.on_progress,
        on_event=watchers.on_event,
    )
    async with stack:
        ports = choose_ports(home / "service-ports.json", (*SERVICES, SIMULATOR))
        addresses = {name: f"http://{LOOPBACK}:{port}" for name, port in ports.items()}
        secrets = load_secrets(home)
        variables = {
            "database_url": stack.database_url,
            "kafka_bootstrap_servers": stack.kafka_bootstrap_servers,
            "encryption_keys": secrets.encryption_keys,
            "api_token": secrets.api_token,
            "log_format": "json",
            **settings,
        }
        first: list[Child] = []
        if simulator is not None:
            variables |= {"stripe_api_base": addresses[SIMULATOR], "public_url": addresses["webhook-gateway"]}
            first.append(_simulator(ports[SIMULATOR], simulator))
        if prepare is not None:
            await prepare(stack.database_url)
        await migrate(stack.database_url)
        children = [_service(program, name, ports[name], variables, environ) for name in SERVICES]
        await stack.supervisor.start([*first, *children])
        stack.publish(
            api_url=addresses["connection-api"],
            gateway_url=addresses["webhook-gateway"],
            **({"simulator_url": addresses[SIMULATOR]} if simulator is not None else {}),
        )
        yield Running(
            stack,
            home,
            addresses["connection-api"],
            secrets.api_token,
            addresses["webhook-gateway"],
            addresses[SIMULATOR] if simulator is not None else "",
        )


def _service(
    program: tuple[str, ...], name: str, port: int, variables: Mapping[str, str], environ: Mapping[str, str]
) -> Child:
    own = {**variables, "host": LOOPBACK, "port": str(port), "instance": name}
    return Child(
        name,
        (*program, name),
        env={**environ, **{f"TILLSTREAM_{key.upper()}": value for key, value in own.items()}},
        ready=http_ready(LOOPBACK, port),
    )


def _simulator(port: int, arguments: Iterable[str]) -> Child:
    argv = (sys.executable, "-m", "simulator", "--port", str(port), *arguments)
    return Child(SIMULATOR, argv, env=dict(os.environ), ready=http_ready(LOOPBACK, port, "/_control/state"))
