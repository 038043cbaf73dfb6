"""The API as tests run it: settings, a token, and a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.connection_api.app import create_app
from services.connection_api.settings import ApiSettings
from shared.crypto import make_encryption_key
from tests.fakes import FakeProducer

TOKEN = "first-token-0123456789"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NOWHERE = "127.0.0.1:1"
Client = TestClient[web.Request, web.Application]


def make_settings(**values: Any) -> ApiSettings:
    """Return settings of an API whose database and Kafka are away, unless `values` say otherwise."""
    defaults = {
        "database_url": f"postgresql://nobody@{NOWHERE}/nothing",
        "kafka_bootstrap_servers": NOWHERE,
        "encryption_keys": make_encryption_key("k1"),
        "api_token": TOKEN,
    }
    return ApiSettings.model_validate(defaults | values)


@asynccontextmanager
async def running(settings: ApiSettings, **arguments: Any) -> AsyncIterator[Client]:
    """Lend a client of an API that runs."""
    app = create_app(settings, producer=FakeProducer(), **arguments)
    async with TestClient(TestServer(app)) as client:
        yield client


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    @property
    def read(self) -> Callable[[], float]:
        """What the code under test is given."""
        return lambda: self.seconds
