"""The pages about events: a search, and the life-line of one event from Stripe to each destination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from aiohttp import web
from pydantic import Field

from services.connection_api.account_names import AccountNames
from services.connection_api.dashboard.filters import DayFilter, address, has_blanks, read_filter
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.sync_pages import PAGE_SIZE
from services.connection_api.dashboard.sync_views import Account, Word
from services.connection_api.dashboard.zones import zone_of
from services.connection_api.labels import label_of
from services.connection_api.pace import duration_text
from services.connection_api.rest.event_search import EventSearch, begins_with
from services.connection_api.rest.models import (
    EventAnswer,
    EventDeliveryAnswer,
    EventDestinationAnswer,
    EventLifeAnswer,
    EventPathAnswer,
)
from services.connection_api.rest.models.base import PRINTABLE, ResourceName
from services.connection_api.rest.requests import make_cursor, read_cursor, read_id, read_stripe_id, read_time
from services.connection_api.state import State
from services.connection_api.status import Tone
from shared.catalogue import BY_NAME
from shared.errors import NotFoundError
from shared.event_outcomes import EventOutcome
from shared.http import Access, add_route

RESOURCES: Mapping[str, str] = {one: label_of(one) for one in sorted(BY_NAME, key=label_of)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an event, in a word and in a sentence."""

    word: Word
    meaning: str


OUTCOMES: Mapping[str, Outcome] = {
    "inserted": Outcome(Word("Inserted", Tone.GOOD, "live"), "The row is new."),
    "updated": Outcome(Word("Updated", Tone.GOOD, "live"), "The row was brought up to date."),
    "deleted": Outcome(Word("Deleted", Tone.GOOD, "live"), "The object is gone at Stripe; its row is marked so."),
    "unchanged": Outcome(Word("Unchanged", Tone.QUIET, "done"), "Already up to date."),
    "ignored": Outcome(
        Word("Already newer", Tone.QUIET, "unavailable"), "A newer version is there already, so nothing changed."
    ),
    "asked_stripe": Outcome(
        Word("Stripe was asked", Tone.BUSY, "sync"),
        "The event does not tell the newest state for certain, so the object itself was read from Stripe.",
    ),
    "not_synced": Outcome(
        Word("Not synced", Tone.QUIET, "unavailable"),
        "This resource is not synced here, or the object was made before the start date.",
    ),
    "parked": Outcome(
        Word("Waiting", Tone.WARNING, "delayed"),
        "The destination could not take it at once. It is kept and tried again until it is written.",
    ),
    "left_out": Outcome(
        Word("Left out for now", Tone.WARNING, "delayed"),
        "Too much waits for the destination. Once it has caught up, this is read from Stripe again.",
    ),
    "failed": Outcome(
        Word("Failed", Tone.BAD, "missing"), "It can't be written as it is, so it was put aside with its reason."
    ),
}


def outcome_of(name: str) -> Outcome:
    """Return how an outcome of the log is told."""
    return OUTCOMES.get(name) or Outcome(Word(name.capitalize(), Tone.QUIET, "done"), "")


class EventListFilter(DayFilter):
    """Which events a page shows; `q` is the beginning of an event's id, an object's id or a type."""

    q: str | None = Field(default=None, max_length=255, pattern=PRINTABLE)
    resource: ResourceName | None = None
    outcome: EventOutcome | None = None

    def search(self, zone: tzinfo) -> EventSearch:
        """Return what the log is asked for; days are those of the zone."""
        return EventSearch(
            connection_id=self.connection_id,
            resource=self.resource,
            outcome=self.outcome,
            since=self.since(zone),
            until=self.until(zone),
            **(begins_with(self.q) if self.q else {}),
        )


@dataclass(frozen=True, slots=True)
class EventView:
    """An event as a row of the list."""

    event: EventAnswer
    account: Account | None

    @property
    def outcome(self) -> Outcome:
        """What became of it."""
        return outcome_of(self.event.outcome)

    @property
    def reason(self) -> str | None:
        """Why, where all destinations say the same; that they do not, where they do not."""
        told = self.event.destinations
        if len({one.outcome for one in told}) > 1:
            return ", ".join(f"{count} × {outcome_of(name).word.text.lower()}" for name, count in _counts(told))
        return next((one.reason for one in told), None)

    @property
    def took(self) -> str | None:
        """How long it took from its arrival; `None` for one that Stripe was asked for."""
        if self.event.received_at is None:
            return None
        return duration_text((self.event.written_at - self.event.received_at).total_seconds())


@dataclass(frozen=True, slots=True)
class PlaceView:
    """What became of an event at one destination."""

    place: EventDestinationAnswer
    outcome: Outcome

    @property
    def waited(self) -> str | None:
        """How long it had waited for the destination; `None` for one that did not, or still does."""
        return None if self.place.is_waiting else _between(self.place.parked_at, self.place.at)

    @property
    def answer(self) -> Outcome | None:
        """What became of Stripe's answer, where Stripe was asked."""
        return outcome_of(self.place.answer.outcome) if self.place.answer else None


@dataclass(frozen=True, slots=True)
class LifeView:
    """An event's way through one connection."""

    life: EventLifeAnswer
    path: EventPathAnswer
    account: Account | None

    @property
    def created_at(self) -> datetime:
        """When it happened, in Stripe's clock."""
        return datetime.fromtimestamp(self.life.created, UTC)

    @property
    def outcome(self) -> Outcome:
        """What became of it."""
        return outcome_of(self.path.outcome)

    @property
    def destinations(self) -> Sequence[PlaceView]:
        """What became of it at each destination; what is not known of one is the event's as a whole."""
        return [PlaceView(one, outcome_of(one.outcome or self.path.outcome)) for one in self.path.destinations]

    @property
    def resource(self) -> str | None:
        """What kind of object it is about."""
        return label_of(self.life.resource) if self.life.resource else None

    @property
    def after_created(self) -> str | None:
        """How long Stripe took to tell."""
        return _between(self.created_at, self.path.received_at)

    @property
    def after_received(self) -> str | None:
        """How long it took from there to the row."""
        return _between(self.path.received_at, self.path.written_at)


def _counts(told: Sequence[EventDeliveryAnswer]) -> Sequence[tuple[str, int]]:
    return Counter(one.outcome for one in told).most_common()


def _between(start: datetime | None, end: datetime | None) -> str | None:
    return duration_text(max(0.0, (end - start).total_seconds())) if start and end else None


class EventPages:
    """Answers the routes about events."""

    def __init__(self, state: State, pages: Pages) -> None:
        self._state = state
        self._pages = pages

    async def list(self, request: web.Request) -> web.Response:
        """Events, newest first."""
        wanted = read_filter(request, EventListFilter)
        if has_blanks(request):
            raise web.HTTPSeeOther(address("/events", wanted.values))
        place = read_cursor(wanted.cursor, parts=3)
        before = (read_time(place[0]), place[1], place[2]) if place else None
        zone = zone_of(request)
        found = await self._state.events.list_newest(wanted.search(zone), before=before, limit=PAGE_SIZE + 1)
        page = found[:PAGE_SIZE]
        last = page[-1] if len(found) > PAGE_SIZE else None
        cursor = make_cursor(last.written_at.isoformat(), last.connection_id, last.event_id) if last else None
        names = AccountNames(self._state.pool)
        known = await names.named(event.connection_id for event in page)
        return self._pages.response(
            "events.html",
            events=[EventView(event, known.get(event.connection_id)) for event in page],
            wanted=wanted,
            offered=await names.offered(wanted.connection_id),
            outcomes={one: outcome_of(one).word for one in EventOutcome},
            resources=RESOURCES,
            zone_name=str(zone),
            newest_address=address("/events", wanted.values),
            next_address=address("/events", {**wanted.values, "cursor": cursor}) if cursor else None,
        )

    async def show(self, request: web.Request) -> web.Response:
        """The life-line of one event."""
        connection_id, event_id = read_id(request, name="connection"), read_stripe_id(request)
        life = await self._state.events.life(event_id)
        path = next((one for one in life.paths if one.connection_id == connection_id), None)
        if path is None:
            raise NotFoundError(f"This connection has no event {event_id} within the last 35 days.")
        account = (await AccountNames(self._state.pool).named([connection_id])).get(connection_id)
        return self._pages.response("event.html", view=LifeView(life, path, account))


def add_event_pages(app: web.Application, state: State, pages: Pages, _now: Callable[[], datetime]) -> None:
    """Add the routes about events."""
    events = EventPages(state, pages)
    add_route(app, "GET", "/events", events.list, Access.READ)
    add_route(app, "GET", "/events/{connection}/{id}", events.show, Access.READ)
