"""Commands about syncs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from services.console import completion
from services.console.client import ApiClient, ApiUnavailableError, path_of
from services.console.consent import consent
from services.console.listing import Column, Listing, show_rows
from services.console.options import AsJson, Limit, OfConnection, SyncId, Yes
from services.console.picking import pick_connection
from services.console.progress import duration_of, is_open, kind_of, status_of, sync_view, written
from services.console.screen import ERRORS, OUT, show_done, show_json
from services.console.task import FAILED, WrongUseError, with_api
from services.console.times import minute, parse_moment
from shared.syncs import Kind, Status

cli = typer.Typer(no_args_is_help=True, help="Runs of work, such as backfills, gap fills and comparisons.")
POLL_INTERVAL = 1.0  # seconds
EXTRA = ("read", "calls")  # columns that a narrow terminal goes without

OfKind = Annotated[Kind | None, typer.Option(help="Only of this kind.", case_sensitive=False)]
WithStatus = Annotated[Status | None, typer.Option(help="Only with this status.", case_sensitive=False)]
Since = Annotated[str | None, typer.Option(help="Only those queued since: today, 24h, 7d, or a time in UTC.")]
Until = Annotated[str | None, typer.Option(help="Only those queued before: today, 24h, 7d, or a time in UTC.")]


async def _filters(
    api: ApiClient, connection: str | None, kind: Kind | None, status: Status | None, *range_: str | None
) -> dict[str, str | int | None]:
    now = datetime.now(UTC)
    since, until = (
        parse_moment(text, now, field=field) if text else None
        for field, text in zip(("since", "until"), range_, strict=True)
    )
    return {
        "connection_id": (await pick_connection(api, connection))["id"] if connection else None,
        "kind": kind,
        "status": status,
        "since": since,
        "until": until,
    }


@cli.command("list")
def list_newest(
    connection: Annotated[
        str | None,
        typer.Argument(help="Only of this connection, as with --connection.", autocompletion=completion.connections),
    ] = None,
    of: OfConnection = None,
    kind: OfKind = None,
    status: WithStatus = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 25,
    as_json: AsJson = False,
) -> None:
    """Show syncs of one connection or of all, newest first."""

    async def show(api: ApiClient) -> None:
        if connection and of and connection != of:
            raise WrongUseError("Name one connection: as the argument, or with --connection.")
        filters = await _filters(api, connection or of, kind, status, since, until)
        found = await api.list("/v1/syncs", at_most=limit, **filters)
        show_rows(
            found,
            lambda rows: syncs_table(rows, datetime.now(UTC)),
            if_none="No sync fits.",
            as_json=as_json,
            if_more="--limit shows more, `tillstream syncs export` all.",
        )

    with_api(show, as_json=as_json)


def syncs_table(rows: list[dict[str, Any]], now: datetime) -> Listing:
    """Return a row per sync."""
    numbers = [Column(name, is_number=True, is_extra=name in EXTRA) for name in ("took", "read", "written", "calls")]
    listing = Listing("id", Column("connection", may_fold=True), "kind", "status", "started", *numbers)
    for row in rows:
        counts = (row["read"], written(row["counts"]), row["stripe_calls"])
        cells = (minute(row["started_at"]), duration_of(row, now), *(f"{number:,}" for number in counts))
        listing.add(row["id"], row["connection_name"], kind_of(row), status_of(row), *cells)
    return listing


@cli.command()
def show(
    sync_id: SyncId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until it has ended; exit with 1 if it fails.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a sync with its progress per resource."""

    async def answer(api: ApiClient) -> int:
        if follow:
            return await (_print_until_ended(api, sync_id) if as_json else _watch(api, sync_id))
        sync = await api.get(path_of("/v1/syncs", sync_id))
        if as_json:
            show_json(sync)
        else:
            OUT.print(sync_view(sync, datetime.now(UTC)))
        return 0

    with_api(answer, as_json=as_json)


async def _watch(api: ApiClient, sync_id: str) -> int:
    """Show the sync until it has ended."""
    sync = await api.get(path_of("/v1/syncs", sync_id))
    with Live(
        sync_view(sync, datetime.now(UTC)), console=OUT, refresh_per_second=4, vertical_overflow="visible"
    ) as live:
        while is_open(sync):
            await asyncio.sleep(POLL_INTERVAL)
            sync = await _again(api, sync)
            live.update(sync_view(sync, datetime.now(UTC)))
    return _code(sync)


async def _print_until_ended(api: ApiClient, sync_id: str) -> int:
    """Print the sync as a line of JSON whenever it has changed, until it has ended."""
    sync = await api.get(path_of("/v1/syncs", sync_id))
    show_json(sync)
    while is_open(sync):
        await asyncio.sleep(POLL_INTERVAL)
        before, sync = sync, await _again(api, sync)
        if sync != before:
            show_json(sync)
    return _code(sync)


async def _again(api: ApiClient, sync: dict[str, Any]) -> dict[str, Any]:
    """Return the sync as it is now, or as it was known while a part of Tillstream is being restarted."""
    try:
        found: dict[str, Any] = await api.get(f"/v1/syncs/{sync['id']}")
    except ApiUnavailableError:
        return sync
    return found


def _code(sync: dict[str, Any]) -> int:
    return FAILED if sync["status"] == "failed" else 0


@cli.command()
def pause(sync_id: SyncId, as_json: AsJson = False) -> None:
    """Let a sync wait; what it has fetched stays."""
    _change(sync_id, "pause", "It waits; `tillstream syncs resume` goes on.", as_json=as_json)


@cli.command()
def resume(sync_id: SyncId, as_json: AsJson = False) -> None:
    """Go on with a sync that waits, where it stopped."""
    _change(sync_id, "resume", "It goes on where it stopped.", as_json=as_json)


@cli.command()
def cancel(sync_id: SyncId, yes: Yes = False, as_json: AsJson = False) -> None:
    """End a sync for good; what it has fetched stays."""
    _change(sync_id, "cancel", "It is cancelled.", as_json=as_json, question="Cancel it for good?", yes=yes)


def _change(
    sync_id: str, action: str, sentence: str, *, as_json: bool, question: str | None = None, yes: bool = False
) -> None:
    async def change(api: ApiClient) -> None:
        if question and not yes:
            ERRORS.print(sync_view(await api.get(path_of("/v1/syncs", sync_id)), datetime.now(UTC)))
            consent(question, yes=yes)
        changed = await api.post(path_of("/v1/syncs", sync_id, action))
        if as_json:
            show_json(changed)
        else:
            show_done(sentence)

    with_api(change, as_json=as_json)


@cli.command()
def export(
    of: OfConnection = None,
    kind: OfKind = None,
    status: WithStatus = None,
    since: Since = None,
    until: Until = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file, instead of standard output.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write all syncs that fit as CSV, or as JSON with --json."""

    async def write(api: ApiClient) -> None:
        filters = await _filters(api, of, kind, status, since, until)
        form = "json" if as_json else "csv"
        async with aclosing(api.read("/v1/syncs/export", format=form, **filters)) as parts:
            if output is not None:
                await _write(parts, output)
                return
            async for part in parts:
                sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()

    with_api(write, as_json=as_json)


async def _write(parts: AsyncIterator[bytes], file: Path) -> None:
    """Write a file that is there when it is whole, and not before. Raises `WrongUseError`."""
    begun = file.with_name(f"{file.name}.part")
    try:
        with begun.open("wb") as opened:
            async for part in parts:
                opened.write(part)
        begun.replace(file)
    except OSError as error:
        raise WrongUseError(f"{file} can't be written: {error.strerror}.", field="output") from error
    finally:
        begun.unlink(missing_ok=True)
    ERRORS.print(f"Written to {file}.", markup=False)
