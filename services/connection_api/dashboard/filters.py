"""What a list page is asked for, as its address says it: what is left empty is left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

from aiohttp import web
from pydantic import Field, ValidationError

from services.connection_api.access.idempotency import FIELD
from services.connection_api.rest.models.base import Id, Input
from services.connection_api.rest.requests import refusal
from shared.syncs import Kind, Status

F = TypeVar("F", bound=Input)
LAST_DAY = date(9999, 12, 30)  # the day after it still exists


class ListFilter(Input):
    """What every list can be asked for."""

    connection_id: Id | None = None
    cursor: str | None = Field(default=None, max_length=500, pattern=r"^[A-Za-z0-9_\-]+$")

    @property
    def values(self) -> dict[str, str]:
        """What was chosen, as it stands in an address; the place in the list is none of it."""
        chosen = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"cursor"})
        return {name: str(value) for name, value in chosen.items()}

    @property
    def is_narrow(self) -> bool:
        """Whether anything but the connection was chosen."""
        return bool(self.values.keys() - {"connection_id"})


class DayFilter(ListFilter):
    """What a list of moments can be asked for; `from` and `to` are days, the last one included."""

    first_day: date | None = Field(default=None, alias="from", le=LAST_DAY)
    last_day: date | None = Field(default=None, alias="to", le=LAST_DAY)

    def since(self, zone: tzinfo) -> datetime | None:
        """Return when the first day begins in the zone."""
        return _midnight(self.first_day, zone) if self.first_day else None

    def until(self, zone: tzinfo) -> datetime | None:
        """Return when the last day ends in the zone."""
        return _midnight(self.last_day + timedelta(days=1), zone) if self.last_day else None


class SyncListFilter(DayFilter):
    """Which syncs a page shows."""

    kind: Kind | None = None
    status: Status | None = None
    quiet: Literal["shown"] | None = None

    @property
    def folds_quiet(self) -> bool:
        """Whether comparisons that found nothing are a line for each day."""
        return not (self.quiet or self.kind or self.status)

    def export_address(self, form: str, zone: tzinfo) -> str:
        """Return where the whole filtered list is had as `csv` or `json`; days are those of the zone."""
        times = {"since": self.since(zone), "until": self.until(zone)}
        chosen = {name: value for name, value in self.values.items() if name not in ("from", "to", "quiet")}
        bounds = {name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in times.items() if at}
        return address("/v1/syncs/export", chosen | bounds | {"format": form})


def read_filter(request: web.Request, model: type[F], *, also: Collection[str] = ()) -> F:
    """Return what the address asks for, beside the parameters `also`; raise `PayloadError` naming the field."""
    return _read(request.query, model, also)


async def read_form(request: web.Request, model: type[F], *, also: Collection[str] = ()) -> F:
    """Return what a form sent, beside the fields `also`; raise `PayloadError` naming the field."""
    return _read(await form_fields(request), model, also)


async def form_fields(request: web.Request) -> dict[str, str]:
    """Return what a form sent, without the key that lets it act once."""
    return {name: str(value) for name, value in (await request.post()).items() if name != FIELD}


def _read(given: Mapping[str, str], model: type[F], also: Collection[str]) -> F:
    filled = {name: value.strip() for name, value in given.items() if value.strip() and name not in also}
    try:
        return model.model_validate(filled)
    except ValidationError as error:
        raise refusal(error) from None  # the cause holds what was sent, secrets too


def has_blanks(request: web.Request) -> bool:
    """Tell whether a form has sent fields that were left empty: its address is not worth sharing."""
    return any(not value.strip() for value in request.query.values())


def address(path: str, values: Mapping[str, Any]) -> str:
    """Return the path with what was chosen."""
    query = urlencode(values)
    return f"{path}?{query}" if query else path


def _midnight(day: date, zone: tzinfo) -> datetime:
    try:
        return datetime.combine(day, time(), zone).astimezone(UTC)
    except OverflowError:  # the first day that there is, east of Greenwich
        return datetime.combine(day, time(), UTC)
