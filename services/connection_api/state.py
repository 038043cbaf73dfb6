"""What the routes work with, from the moment at which the state database first answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import aiohttp

from services.connection_api.alarms.alarms import Alarms
from services.connection_api.alarms.sending import Sender
from services.connection_api.alarms.store import AlarmStore
from services.connection_api.alarms.watcher import INTERVAL, Watcher
from services.connection_api.data.at_stripe_now import AtStripeNow
from services.connection_api.data.finding import Finder
from services.connection_api.data.sources import Sources
from services.connection_api.freshness import FreshnessReader
from services.connection_api.installation import Installation
from services.connection_api.letters.letters import Letters
from services.connection_api.letters.replays import Replays
from services.connection_api.life.at_stripe import AtStripe
from services.connection_api.life.choices import Choices
from services.connection_api.life.comparing import Comparing
from services.connection_api.life.connect import Connect
from services.connection_api.life.deliveries import Deliveries
from services.connection_api.life.keys import Keys
from services.connection_api.life.naming import Naming
from services.connection_api.life.places import Places
from services.connection_api.life.rebuild import Rebuild
from services.connection_api.life.removals import Removals
from services.connection_api.life.setups import Setups
from services.connection_api.life.start_dates import StartDates
from services.connection_api.life.steering import Steering
from services.connection_api.questions.asking import Asking
from services.connection_api.rest.event_log import EventLog
from services.connection_api.rest.reads import Reads
from services.connection_api.settings import ApiSettings
from shared.audit import AuditLog
from shared.background import lasting, open_state, repeat
from shared.comparisons import ComparisonStore
from shared.connections import ConnectionStore
from shared.crypto import KeyRing
from shared.db import Pool, is_ready
from shared.destinations import DestinationStore
from shared.errors import AppError, DatabaseUnavailableError
from shared.heartbeat import watched
from shared.kafka import Producer
from shared.log import get_logger
from shared.networks import Networks
from shared.postgres_reading import Reader
from shared.syncs import SyncStore
from shared.topics import EVENTS
from shared.verify_schedules import VerifyScheduleStore

LOOK_INTERVAL = 30.0  # seconds between two looks for what a crash or a person has left unfinished


@dataclass(frozen=True, slots=True)
class UseCases:
    """What can be done to connections."""

    connect: Connect
    keys: Keys
    setups: Setups
    start_dates: StartDates
    choices: Choices
    removals: Removals


def make_use_cases(
    pool: Pool, settings: ApiSettings, session: aiohttp.ClientSession, producer: Producer
) -> tuple[UseCases, AtStripe]:
    """Build the use cases on a pool, and what they do at Stripe."""
    at_stripe = AtStripe(pool, settings, session)
    connect = Connect(pool=pool, settings=settings, at_stripe=at_stripe, producer=producer)
    keys = Keys(pool, settings, at_stripe, connect)
    setups = Setups(pool, settings, keys, connect)
    return (
        UseCases(
            connect,
            keys,
            setups,
            StartDates(pool, settings, at_stripe, setups),
            Choices(pool, settings, at_stripe),
            Removals(pool, settings),
        ),
        at_stripe,
    )


class State:
    """The pool and what is built on it; every property raises `DatabaseUnavailableError` while there is none."""

    def __init__(self, settings: ApiSettings, producer: Producer, now: Callable[[], datetime]) -> None:
        """`now` gives the time with its zone."""
        self._settings = settings
        self._now = now
        self._sender: Sender | None = None
        self._reader = Reader(settings.networks)
        self._at_stripe: AtStripe | None = None
        self._keys: KeyRing = settings.key_ring
        self._producer = producer
        self._pool: Pool | None = None
        self._use_cases: UseCases | None = None

    async def run(self) -> None:
        """Hold the pool and finish what was left unfinished, until cancelled; wait for the database."""
        settings = self._settings
        async with open_state(settings) as pool, aiohttp.ClientSession() as session:
            use_cases, at_stripe = make_use_cases(pool, settings, session, self._producer)
            self._sender = Sender(
                AlarmStore(pool, self._keys), networks=settings.networks, server=settings.mail, now=self._now
            )
            self._use_cases, self._at_stripe, self._pool = use_cases, at_stripe, pool
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watched(self._finish(use_cases, at_stripe)))
                tasks.create_task(lasting("alarms_sending", self._sender.run))
                tasks.create_task(lasting("alarms_watching", self._watch))

    async def _watch(self) -> None:
        """Look for ever at what somebody has to hear of."""
        watcher = Watcher(
            self.pool,
            self.alarms.store,
            dashboard_url=self._settings.dashboard_url,
            now=self._now,
            wake=self._wake_sender,
        )

        async def look() -> int:
            await watcher.look()
            return 0  # the next look has time, whatever this one has found

        await repeat(look, interval_seconds=INTERVAL, delayed="alarms_watching_delayed")

    def _wake_sender(self) -> None:
        if self._sender is not None:
            self._sender.wake()

    async def _finish(self, use_cases: UseCases, at_stripe: AtStripe) -> None:
        while True:
            await self._look(use_cases, at_stripe)
            await asyncio.sleep(LOOK_INTERVAL)

    async def _look(self, use_cases: UseCases, at_stripe: AtStripe) -> None:
        """Take each step, whatever becomes of the others: what is left is looked at again, and nothing ends the API."""
        steps = (use_cases.connect.resume_unfinished, at_stripe.sweep_probes)
        ends = await asyncio.gather(*(step() for step in steps), return_exceptions=True)
        for step, error in zip(steps, ends, strict=True):
            if isinstance(error, AppError):
                get_logger().warning("unfinished_delayed", step=step.__name__, reason=error.message)
            elif error is not None:
                get_logger().error("unfinished_failed", step=step.__name__, exc_info=error)

    @property
    def networks(self) -> Networks:
        """Where destinations may lie."""
        return self._settings.networks

    @property
    def pool(self) -> Pool:
        """The state database."""
        if self._pool is None:
            raise DatabaseUnavailableError
        return self._pool

    @property
    def connect(self) -> Connect:
        """Connecting an account, and pausing it."""
        return self._known.connect

    @property
    def keys(self) -> Keys:
        """Checking and replacing keys."""
        return self._known.keys

    @property
    def setups(self) -> Setups:
        """Connecting an account in steps."""
        return self._known.setups

    @property
    def start_dates(self) -> StartDates:
        """From when on objects are kept."""
        return self._known.start_dates

    @property
    def choices(self) -> Choices:
        """What is synced, and where to."""
        return self._known.choices

    @property
    def removals(self) -> Removals:
        """Removing a connection."""
        return self._known.removals

    @property
    def naming(self) -> Naming:
        """Giving connections other names."""
        return Naming(self.pool)

    @property
    def _known(self) -> UseCases:
        if self._use_cases is None:
            raise DatabaseUnavailableError
        return self._use_cases

    @property
    def destinations(self) -> DestinationStore:
        """The destinations."""
        return DestinationStore(self.pool, self._keys)

    @property
    def at_stripe_now(self) -> AtStripeNow:
        """What Stripe is asked about single objects."""
        if self._at_stripe is None:
            raise DatabaseUnavailableError
        return AtStripeNow(self.connections, self._at_stripe)

    @property
    def finder(self) -> Finder:
        """What finds objects by their ids alone."""
        return Finder(self.pool, self.sources)

    @property
    def sources(self) -> Sources:
        """From where rows are read for a person who looks."""
        return Sources(self.connections, self.destinations, self._reader)

    @property
    def asking(self) -> Asking:
        """Ready questions about rows."""
        return Asking(self.sources)

    @property
    def places(self) -> Places:
        """The places that rows go to."""
        return Places(self.pool, self._settings)

    @property
    def connections(self) -> ConnectionStore:
        """The connections."""
        return ConnectionStore(self.pool, self._keys)

    @property
    def freshness(self) -> FreshnessReader:
        """How fresh the connections are."""
        return FreshnessReader(self.pool, self._settings)

    @property
    def reads(self) -> Reads:
        """What the REST API tells of connections."""
        return Reads(self.pool, self.freshness)

    @property
    def syncs(self) -> SyncStore:
        """The syncs."""
        return SyncStore(self.pool)

    @property
    def rebuild(self) -> Rebuild:
        """Filling a destination again."""
        return Rebuild(self.pool, self.connections)

    @property
    def steering(self) -> Steering:
        """What a person does to syncs that are under way."""
        return Steering(self.pool)

    @property
    def deliveries(self) -> Deliveries:
        """Deliveries that have stopped."""
        return Deliveries(self.pool)

    @property
    def comparisons(self) -> ComparisonStore:
        """What comparisons with Stripe have found."""
        return ComparisonStore(self.pool)

    @property
    def comparing(self) -> Comparing:
        """Comparing a connection's rows with what Stripe has."""
        return Comparing(self.pool, self.connections, now=self._now)

    @property
    def verify_schedules(self) -> VerifyScheduleStore:
        """When connections are compared by themselves."""
        return VerifyScheduleStore(self.pool)

    @property
    def events(self) -> EventLog:
        """The event log."""
        return EventLog(self.pool, self._keys, topic=EVENTS.name(self._settings.topic_prefix))

    @property
    def letters(self) -> Letters:
        """The dead letters."""
        return Letters(self.pool)

    @property
    def replays(self) -> Replays:
        """Replays of dead letters."""
        return Replays(self.pool, topic_prefix=self._settings.topic_prefix)

    @property
    def alarms(self) -> Alarms:
        """Who hears when a connection needs somebody."""
        has_mail = self._settings.mail is not None
        return Alarms(AlarmStore(self.pool, self._keys), has_mail=has_mail, wake=self._wake_sender)

    @property
    def installation(self) -> Installation:
        """What is chosen for all."""
        return Installation(self.pool)

    @property
    def audit_log(self) -> AuditLog:
        """Who did what."""
        return AuditLog(self.pool, self._keys)

    async def seal_audit_log(self) -> int:
        """Seal what is new of the audit log, once there is a database; return 0, since the next look has time."""
        if self._pool is not None:
            await self.audit_log.seal()
        return 0

    async def is_ready(self) -> bool:
        """Tell whether the state database answers."""
        return self._pool is not None and await is_ready(self._pool)
