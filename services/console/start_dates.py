"""`connections set-start-date`: what it would cost first, then the change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from services.console.client import ApiClient
from services.console.consent import ask, can_ask, consent, tell
from services.console.options import AsJson, ConnectionName, Yes
from services.console.picking import pick_connection
from services.console.screen import amount, show_done, show_json
from services.console.task import with_api
from services.console.times import parse_start_date, utc_moment

NewDate = Annotated[
    str, typer.Argument(help="all, 2y, 1y, 90d, today, or a date such as 2025-01-31; a day begins at 00:00 UTC.")
]
DeleteOlder = Annotated[
    bool | None,
    typer.Option(
        "--delete-older/--keep-older",
        help="Whether rows of objects made before the date are deleted; without either, it asks, or keeps them.",
    ),
]


def set_start_date(
    connection: ConnectionName,
    start_date: NewDate,
    delete_older: DeleteOlder = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Set from when on objects are kept, after showing what that costs; an earlier date fetches what is new in it."""

    async def change(api: ApiClient) -> None:
        found = await pick_connection(api, connection)
        wanted = parse_start_date(start_date, datetime.now(UTC))
        is_deleting = await _agree(api, found, wanted, delete_older, yes=yes)
        body = {"start_date": wanted, "delete_older": is_deleting}
        changed = await api.put(f"/v1/connections/{found['id']}/start-date", body)
        if as_json:
            show_json(changed)
        else:
            show_done(f"{changed['name']} now keeps {_kept(changed['start_date'])}.")

    with_api(change, as_json=as_json)


async def _agree(
    api: ApiClient, connection: dict[str, Any], wanted: str | None, delete_older: bool | None, *, yes: bool
) -> bool:
    """Return whether older rows are deleted, once the person has seen the estimate and agreed."""
    if yes:
        return bool(delete_older)
    estimate = await api.post(f"/v1/connections/{connection['id']}/start-date/estimate", {"start_date": wanted})
    tell(f"{connection['name']} keeps {_kept(connection['start_date'])}; with this it keeps {_kept(wanted)}.")
    tell(estimate["sentence"])
    if is_later(wanted, connection["start_date"]) and delete_older is None and can_ask():
        delete_older = ask(f"Delete {_older(estimate)} from the destinations?")
    fate = f" {_older(estimate).capitalize()} will be deleted." if delete_older else ""
    consent(f"Set the start date?{fate}", yes=False)
    return bool(delete_older)


def is_later(wanted: str | None, current: str | None) -> bool:
    """Tell whether less is kept than before; no date keeps everything."""
    if wanted is None:
        return False
    return current is None or datetime.fromisoformat(wanted) > datetime.fromisoformat(current)


def _older(estimate: dict[str, Any]) -> str:
    rows = estimate["older_rows"]
    return "the rows of older objects" if rows is None else f"the {amount(rows, 'row', 'rows')} of older objects"


def _kept(start_date: str | None) -> str:
    return f"what was made since {utc_moment(start_date)}" if start_date else "everything"
