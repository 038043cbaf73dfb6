"""Which accounts are wanted, as the address of the Accounts page says it, and how the database narrows them down.

A connection's word depends on more than its row, so SQL only sorts out what can't have the word; `status_of` decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote, urlencode

from aiohttp import web
from pydantic import Field, ValidationError

from services.connection_api.debt_sentences import LATE_AFTER
from services.connection_api.debts import MAY_OWE
from services.connection_api.rest.models.base import LONGEST_CURSOR, PRINTABLE, Input
from services.connection_api.rest.requests import make_cursor, read_cursor, refusal
from services.connection_api.status import Word
from shared.connections import LiveBy, State

ACTIVE = f"state = '{State.ACTIVE}'"
IS_BACKFILLING = """EXISTS (SELECT FROM syncs s WHERE s.connection_id = connections.id AND s.kind = 'backfill'
                            AND s.status IN ('queued', 'running', 'paused'))"""
EVENTS_MAY_BE_LATE = f"(live_by = '{LiveBy.POLLING}' AND events_complete_to < extract(epoch FROM now()) - {LATE_AFTER})"
MAY_BE: Mapping[Word, str] = MappingProxyType(
    {
        Word.SETTING_UP: f"state = '{State.SETTING_UP}'",
        Word.BACKFILLING: f"{ACTIVE} AND {IS_BACKFILLING}",
        Word.LIVE: f"{ACTIVE} AND NOT {IS_BACKFILLING}",
        Word.DELAYED: f"{ACTIVE} AND ({MAY_OWE} OR {EVENTS_MAY_BE_LATE})",
        Word.ACTION_REQUIRED: f"(state = '{State.ACTION_REQUIRED}' OR ({ACTIVE} AND {MAY_OWE}))",
        Word.PAUSED: f"state = '{State.PAUSED}'",
        Word.REMOVING: f"state = '{State.REMOVING}'",
    }
)
ANY_STATUS = "true"
COLUMNS = ("status", "name", "behind", "rows", "today", "verified", "destination")  # by which a list is sorted


class View(StrEnum):
    """How the Accounts page shows accounts."""

    LIST = "list"
    CARDS = "cards"


class AccountFilter(Input):
    """Which accounts are wanted, and after which one the page begins."""

    q: str | None = Field(default=None, max_length=100, pattern=PRINTABLE)
    status: Word | None = None
    cursor: str | None = Field(default=None, max_length=LONGEST_CURSOR, pattern=r"^[A-Za-z0-9_\-]+$")

    @property
    def is_narrow(self) -> bool:
        """Whether something was searched for or chosen."""
        return bool(self.q or self.status)

    @property
    def place(self) -> Sequence[str]:
        """Name (as it is sorted) and id of the last account on the page before; raise `PayloadError`."""
        name, connection_id = read_cursor(self.cursor, parts=2) or ("", "")
        return unquote(name).replace("\0", ""), connection_id

    @property
    def condition(self) -> str:
        """SQL over `connections` that is true of every account with the wanted status, and maybe of others."""
        return MAY_BE[self.status] if self.status else ANY_STATUS

    def address(self, path: str = "/", **changes: Any) -> str:
        """Return the address of a page with this filter; a change to `None` leaves something out."""
        values = self.model_dump(mode="json") | changes
        query = urlencode({name: value for name, value in values.items() if value})
        return f"{path}?{query}" if query else path


class HomeFilter(AccountFilter):
    """Which accounts the Accounts page shows, in which order, and how."""

    sort: str | None = Field(default=None, pattern=f"^-?({'|'.join(COLUMNS)})$")
    view: View | None = None
    page: int = Field(default=1, ge=1, le=100_000)

    @property
    def column(self) -> str:
        """By what accounts are sorted: what needs attention first, unless asked otherwise."""
        return (self.sort or "status").removeprefix("-")

    @property
    def is_descending(self) -> bool:
        """Whether the greatest comes first."""
        return bool(self.sort and self.sort.startswith("-"))

    def address(self, path: str = "/", **changes: Any) -> str:
        """Return the address of a page with this filter; a change to `None` leaves something out."""
        changes = {"page": self.page, "cursor": None} | changes
        return super().address(path, **changes | {"page": changes["page"] if changes["page"] != 1 else None})


def read_home_filter(request: web.Request) -> HomeFilter:
    """Return what the address asks for; what is no part of a filter is ignored. Raises `PayloadError`."""
    given = {name: request.query.get(name, "").strip() for name in HomeFilter.model_fields if name != "cursor"}
    try:
        return HomeFilter.model_validate({name: value for name, value in given.items() if value})
    except ValidationError as error:
        raise refusal(error) from None


def cursor_after(sorted_name: str, connection_id: str) -> str:
    """Return the place after an account; a cursor holds ASCII alone."""
    return make_cursor(quote(sorted_name), connection_id)
