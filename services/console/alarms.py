"""Commands about alarms: where they go, and what was sent."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from services.connection_api.alarms.channel import ChannelKind, Event
from services.console import completion
from services.console.client import ApiClient, path_of
from services.console.consent import consent, read_secret
from services.console.listing import Column, Listing, show_rows
from services.console.options import AsJson, Limit, Yes
from services.console.screen import ERRORS, OUT, show_done, show_json, with_tone
from services.console.task import FAILED, WrongUseError, with_api
from services.console.times import ago, minute

cli = typer.Typer(no_args_is_help=True, help="Who hears when an account needs somebody.")
HOURS = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)\Z")
LOOKS, PAUSE = 30, 0.5  # for what came of a test; seconds between two
PROMPTS = {
    ChannelKind.WEBHOOK: "https://example.com/alarms",
    ChannelKind.SLACK: "https://hooks.slack.com/services/…",
    ChannelKind.EMAIL: "ada@example.com",
}
AlarmId = Annotated[str, typer.Argument(help="The alarm's id.", autocompletion=completion.alarms)]


@cli.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Show where alarms go, what they tell and when it is quiet."""

    async def show(api: ApiClient) -> None:
        rows = (await api.get("/v1/alarms"))["data"]
        if as_json:
            show_json(rows)
        elif rows:
            OUT.print(alarms_table(rows))
        else:
            OUT.print("Nobody is told yet. Add somebody with `tillstream alarms add`.")

    with_api(show, as_json=as_json)


def alarms_table(rows: list[dict[str, Any]]) -> Listing:
    """Return a row per alarm."""
    listing = Listing("id", "by", "to", Column("tells", may_fold=True), "quiet", Column("added", is_extra=True))
    for row in rows:
        quiet = row["quiet_hours"]
        hours = f"{quiet['begin'][:5]}-{quiet['end'][:5]} {quiet['zone']}" if quiet else "never"
        listing.add(row["id"], row["kind"], row["shown"], ", ".join(row["events"]), hours, minute(row["created_at"]))
    return listing


@cli.command()
def add(
    kind: Annotated[ChannelKind, typer.Argument(help="How messages travel.")],
    event: Annotated[
        list[Event] | None,
        typer.Option(help="Tell of this; may be given more than once. Without it: all but delayed and backfill_done."),
    ] = None,
    quiet: Annotated[str | None, typer.Option(help="Hours in which messages are held, such as 22:00-07:00.")] = None,
    zone: Annotated[str, typer.Option(help="The zone of the quiet hours, such as Europe/Berlin.")] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Add an alarm; its address is read from a prompt, or from standard input. A signing secret is printed once."""

    async def create(api: ApiClient) -> None:
        body: dict[str, Any] = {"kind": kind, **({"events": event} if event else {}), **_quiet(quiet, zone)}
        made = await api.post("/v1/alarms", body | {"address": read_secret(PROMPTS[kind], what="address")})
        if as_json:
            show_json(made)
            return
        alarm = made["alarm"]
        if made["signing_secret"]:
            OUT.print(made["signing_secret"], markup=False, soft_wrap=True)
            ERRORS.print("This is its signing secret. Keep it well: it is not shown again.")
            ERRORS.print(f"Added {alarm['id']}. Try it with `tillstream alarms test {alarm['id']}`.", markup=False)
        else:
            show_done(f"Added {alarm['id']}. Try it with `tillstream alarms test {alarm['id']}`.")

    with_api(create, as_json=as_json)


def _quiet(hours: str | None, zone: str) -> dict[str, Any]:
    if hours is None:
        return {}
    found = HOURS.match(hours.strip())
    if not found:
        raise WrongUseError(f"--quiet “{hours}” can't be read: give hours such as 22:00-07:00.", field="quiet")
    return {"quiet_hours": {"begin": found[1], "end": found[2], "zone": zone}}


@cli.command("test")
def send_test(alarm: AlarmId, as_json: AsJson = False) -> None:
    """Send a test and wait for what comes of it; exit with 1 if it does not arrive."""

    async def attempt(api: ApiClient) -> int:
        message = await api.post(path_of("/v1/alarms", alarm, "test"))
        for _ in range(LOOKS):
            if message["sent_at"] or message["last_error"]:
                break
            await asyncio.sleep(PAUSE)
            newest = (await api.list("/v1/alarms/messages", at_most=100)).data
            message = next((one for one in newest if one["id"] == message["id"]), message)
        if as_json:
            show_json(message)
        elif message["sent_at"]:
            show_done("The test has arrived.")
        else:
            why = message["last_error"] or "It is still on its way."
            OUT.print(with_tone("bad", f"The test did not arrive. {why}"))
        return 0 if message["sent_at"] else FAILED

    with_api(attempt, as_json=as_json)


@cli.command()
def remove(alarm: AlarmId, yes: Yes = False, as_json: AsJson = False) -> None:
    """Remove an alarm and its messages."""

    async def forget(api: ApiClient) -> None:
        consent(f"Remove {alarm}? Nothing is sent there any more.", yes=yes)
        await api.delete(path_of("/v1/alarms", alarm))
        if as_json:
            show_json({"id": alarm, "removed": True})
        else:
            show_done(f"Removed {alarm}.")

    with_api(forget, as_json=as_json)


@cli.command()
def messages(limit: Limit = 25, as_json: AsJson = False) -> None:
    """Show what was sent and whether it has arrived, newest first."""

    async def show(api: ApiClient) -> None:
        found = await api.list("/v1/alarms/messages", at_most=limit)
        now = datetime.now(UTC)
        show_rows(found, lambda rows: messages_table(rows, now), if_none="Nothing was sent yet.", as_json=as_json)

    with_api(show, as_json=as_json)


def messages_table(rows: list[dict[str, Any]], now: datetime) -> Listing:
    """Return a row per message."""
    listing = Listing("when", "event", "outcome", Column("message", may_fold=True), Column("alarm", is_extra=True))
    for row in rows:
        listing.add(ago(row["created_at"], now), row["event"], _outcome(row), row["sentence"], row["alarm_id"])
    return listing


def _outcome(row: dict[str, Any]) -> Text:
    if row["sent_at"]:
        return with_tone("good", "arrived")
    if row["next_try_at"] is None:
        return with_tone("bad", f"given up: {row['last_error']}")
    if row["last_error"]:
        return with_tone("warning", f"{row['last_error']} Next try: {minute(row['next_try_at'])}")
    return with_tone("busy", "on its way")
