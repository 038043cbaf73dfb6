"""Alarms on a database, and a receiver of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from services.connection_api.alarms.alarms import Alarms, Made
from services.connection_api.alarms.channel import ChannelKind, Event, QuietHours
from services.connection_api.alarms.sending import Sender
from services.connection_api.alarms.store import AlarmStore, Message
from services.connection_api.alarms.watcher import Watcher
from services.connection_api.mail_server import MailServer
from shared.audit import Actor
from shared.connections import State
from shared.crypto import make_encryption_key, parse_key_ring
from shared.db import Pool, make_pool
from shared.networks import ANYWHERE, Networks
from tests.browser.sample import add_connection, add_destination

BY = Actor("test")
REFUSED = "Stripe refuses the API key."


@dataclass
class Receiver:
    """What an HTTP server has got, and how it answers."""

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    status: int = 204

    def verified(self, secret: str) -> list[dict[str, object]]:
        """Return the bodies whose signature fits, computed as a receiver does."""
        key, found = base64.b64decode(secret.removeprefix("whsec_")), []
        for headers, body in self.got:
            signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
            expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
            if f"v1,{expected}" in headers["webhook-signature"].split():
                found.append(json.loads(body))
        return found


@dataclass
class World:
    """Alarms on a database, with a clock that the test turns."""

    pool: Pool
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    networks: Networks = ANYWHERE
    server: MailServer | None = None

    def __post_init__(self) -> None:
        self.store = AlarmStore(self.pool, parse_key_ring(make_encryption_key("k1")))
        self.alarms = Alarms(self.store, has_mail=self.server is not None, wake=lambda: None)
        self.watcher = self.another_watcher()

    def another_watcher(self) -> Watcher:
        return Watcher(self.pool, self.store, dashboard_url="https://till.example.com/", now=lambda: self.now)

    async def add(self, address: str, kind: ChannelKind = ChannelKind.WEBHOOK, quiet: QuietHours | None = None) -> Made:
        return await self.alarms.add(kind, SecretStr(address), events=list(Event), quiet=quiet, by=BY)

    async def pass_time(self, seconds: int) -> None:
        """Look every ten seconds."""
        for _ in range(seconds // 10):
            await self.watcher.look()
            self.now += timedelta(seconds=10)

    async def send(self) -> None:
        sender = Sender(self.store, networks=self.networks, server=self.server, now=lambda: self.now)
        while await sender.send_due():
            pass

    async def break_key(self) -> None:
        sql = "UPDATE connections SET state = 'action_required', cause = $1 WHERE id = 'con_1'"
        await self.pool.execute(sql, REFUSED)

    async def mend_key(self) -> None:
        await self.pool.execute("UPDATE connections SET state = 'active', cause = NULL WHERE id = 'con_1'")

    async def messages(self) -> list[Message]:
        return list(reversed(await self.store.list_newest(limit=100)))


@asynccontextmanager
async def alarm_world(database_url: str) -> AsyncIterator[World]:
    pool = await make_pool(database_url)
    await add_destination(pool)
    await add_connection(pool, "con_1", "Till Shop", state=State.ACTIVE)
    yield World(pool)
    pool.terminate()


@asynccontextmanager
async def receiving(location: str | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()

    async def take(request: web.Request) -> web.Response:
        receiver.got.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        return web.Response(status=receiver.status, headers={"Location": location} if location else {})

    app = web.Application()
    app.router.add_post("/alarms", take)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/alarms"))
        yield receiver
