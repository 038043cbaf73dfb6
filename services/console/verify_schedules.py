"""`connections verify-schedule`: when the rows are compared with Stripe by themselves, and what that has found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from services.console.client import ApiClient
from services.console.listing import Column, Listing
from services.console.options import AsJson, ConnectionName
from services.console.picking import pick_connection
from services.console.screen import OUT, amount, facts_view, plain, show_json
from services.console.task import with_api
from services.console.times import ago, moment
from shared.verify_schedules import MOST_PAGES, HowOften

SPOKEN = {"never": "never", "daily": "every day", "weekly": "every Sunday"}
CHOSEN = ("how_often", "hour", "zone", "pages")


def verify_schedule(
    connection: ConnectionName,
    every: Annotated[HowOften | None, typer.Option(help="How often the rows are compared.")] = None,
    hour: Annotated[int | None, typer.Option(min=0, max=23, help="At which hour of the day.")] = None,
    zone: Annotated[str | None, typer.Option(help="In which time zone, such as Europe/Berlin.")] = None,
    pages: Annotated[
        int | None, typer.Option(min=1, max=MOST_PAGES, help="The budget: how many pages of each list a run reads.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show or set when the rows are compared with Stripe by themselves, what a run costs, and what runs have found."""

    async def change(api: ApiClient) -> None:
        found = await pick_connection(api, connection)
        path = f"/v1/connections/{found['id']}/verify-schedule"
        known = await api.get(path)
        given = {"how_often": every, "hour": hour, "zone": zone, "pages": pages}
        asked = {name: value for name, value in given.items() if value is not None}
        if asked:
            known = await api.put(path, {name: known[name] for name in CHOSEN} | asked)
        if as_json:
            show_json(known)
        else:
            OUT.print(schedule_view(found["name"], known, datetime.now(UTC)))

    with_api(change, as_json=as_json)


def schedule_view(name: str, schedule: dict[str, Any], now: datetime) -> RenderableType:
    """Return when a connection is compared, and a row per run."""
    facts: list[tuple[str, str | Text]] = [("Runs", _when(schedule))]
    if schedule["next_run_at"]:
        facts.append(("Next run", moment(schedule["next_run_at"])))
    budget = f"{amount(schedule['pages'], 'page', 'pages')} of each list, at most {schedule['calls']:,} calls to Stripe"
    facts.append(("A run reads", budget))
    if last := schedule["last_run"]:
        found = f"{amount(last['compared'], 'row', 'rows')}, {amount(last['differences'], 'difference', 'differences')}"
        facts.append(("Last verified", f"{moment(last['finished_at'])}: {found}"))
    parts: list[RenderableType] = [Text(plain(name), style="bold"), facts_view(facts)]
    if schedule["runs"]:
        parts += [Text(), runs_table(schedule["runs"], now)]
    return Group(*parts)


def runs_table(runs: list[dict[str, Any]], now: datetime) -> Listing:
    """Return a row per run, the newest first."""
    numbers = (Column(name, is_number=True) for name in ("compared", "differences", "skipped"))
    listing = Listing("sync", "when", *numbers)
    for run in runs:
        wrong = Text(f"{run['differences']:,}", style="red" if run["differences"] else "green")
        counts = (f"{run['compared']:,}", wrong, f"{run['skipped']:,}")
        listing.add(run["sync_id"], ago(run["finished_at"], now), *counts)
    return listing


def _when(schedule: dict[str, Any]) -> str:
    spoken = SPOKEN[schedule["how_often"]]
    return spoken if schedule["how_often"] == "never" else f"{spoken} at {schedule['hour']:02}:00, {schedule['zone']}"
