"""How far a sync is, as a terminal shows it: once, or again and again while it runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from services.connection_api.pace import duration_text, rate_of, rate_text, remaining_seconds, remaining_text
from services.connection_api.status import percent_of
from services.console.listing import Column, Listing
from services.console.screen import facts_view, make_table, plain, with_tone
from services.console.times import ago, moment, utc_moment

ABOUT_TO_BEGIN = "The backfill is about to begin …"
BAR = 16  # columns
OPEN = frozenset({"queued", "running", "paused"})
TONES = {
    "queued": "quiet",
    "running": "busy",
    "paused": "quiet",
    "succeeded": "passed",
    "failed": "bad",
    "cancelled": "quiet",
    "stopped": "bad",
    "partial": "warning",
    "differences": "warning",
}
WORDS = {"partial": "succeeded with failures", "differences": "differences found"}
COUNTS = ("inserted", "updated", "deleted", "unchanged", "failed")
Sync = dict[str, Any]


def is_open(sync: Sync) -> bool:
    """Tell whether the sync goes on, or may."""
    return sync["status"] in OPEN


def kind_of(sync: Sync) -> str:
    """Return the kind in words."""
    return str(sync["kind"]).replace("_", " ")


def status_of(sync: Sync) -> Text:
    """Return the status with its sign, and how far an open sync is; one whose key is refused has stopped."""
    outcome = sync["outcome"]
    share = f" {percent_of(sync['share'])} %" if has_share(sync) else ""
    return with_tone(TONES[outcome], f"{WORDS.get(outcome, outcome)}{share}")


def has_share(sync: Sync) -> bool:
    """Tell whether it can be said how far the sync is; an hour of live changes is on its way to nothing."""
    return bool(sync["outcome"] == "running" and sync["kind"] != "live")


def written(counts: dict[str, int]) -> int:
    """Return how many rows were changed."""
    return counts["inserted"] + counts["updated"] + counts["deleted"]


def duration_of(sync: Sync, now: datetime) -> str:
    """Return how long the sync took, or has taken so far."""
    seconds = elapsed(sync, now)
    return "" if seconds is None else duration_text(seconds)


def elapsed(sync: Sync, now: datetime) -> float | None:
    """Return the seconds from its beginning to its end, or to `now`."""
    if sync["started_at"] is None:
        return None
    end = datetime.fromisoformat(sync["finished_at"]) if sync["finished_at"] else now
    return max(0.0, (end - datetime.fromisoformat(sync["started_at"])).total_seconds())


def calls_of(sync: Sync) -> str:
    """Return how often Stripe was called, and how many of the calls it refused for their rate."""
    refused = f", {sync['rate_limited']:,} of them refused for their rate" if sync["rate_limited"] else ""
    return f"{sync['stripe_calls']:,}{refused}"


def progress_table(sync: Sync) -> RenderableType:
    """Return a row per resource with a bar: the share of the time range, since Stripe tells no totals."""
    if not sync["progress"]:
        return Text(ABOUT_TO_BEGIN, style="dim")
    table = make_table(("resource", ""), ("read", "written"))
    for row in sync["progress"]:
        bar = ProgressBar(total=1.0, completed=row["share"], width=BAR)
        table.add_row(row["resource"], bar, f"{row['read']:,}", f"{written(row['counts']):,}")
    return table


def sync_view(sync: Sync, now: datetime) -> RenderableType:
    """Return all of a sync: its status and cause first, then facts, then its progress per resource."""
    parts: list[RenderableType] = [Text.assemble((f"{kind_of(sync).capitalize()}  ", "bold"), status_of(sync))]
    if sync["cause"]:
        parts.append(Text(plain(sync["cause"])))
    parts += [Text(), facts_view(_facts(sync, now))]
    if sync["progress"]:
        parts += [Text(), _resources(sync)]
        parts += _causes(sync)
    if sync.get("delays"):
        parts += [Text(), delays_table(sync["delays"], now)]
    return Group(*parts)


def delays_table(delays: list[dict[str, Any]], now: datetime) -> Listing:
    """Return a row for each piece of work that is tried again."""
    listing = Listing(Column("tried again", may_fold=True), "since", "tried", "next try")
    for one in delays:
        why = f"{one['cause']} {one['fix']}" if one["fix"] else one["cause"]
        listing.add(why, ago(one["since"], now), f"{one['attempts']:,}", moment(one["next_try_at"]))
    return listing


def _facts(sync: Sync, now: datetime) -> list[tuple[str, str | Text]]:
    counts = sync["counts"]
    changed = ", ".join(f"{counts[name]:,} {name}" for name in COUNTS if counts[name]) or "none"
    facts: list[tuple[str, str | Text]] = [
        ("Id", sync["id"]),
        ("Connection", f"{sync['connection_name']}  {sync['connection_id']}"),
        ("Trigger", sync["trigger"]),
        ("Object", sync["object_id"] or ""),
        ("Range", _range(sync)),
        ("Started", moment(sync["started_at"]) or "not yet"),
        ("Duration", duration_of(sync, now)),
        ("Read", f"{sync['read']:,}"),
        ("Rows", changed),
        ("Stripe calls", calls_of(sync)),
        *_pace(sync, now),
    ]
    return [(name, value) for name, value in facts if value]


def _pace(sync: Sync, now: datetime) -> list[tuple[str, str | Text]]:
    """Return how fast a running sync is, and what is left, as far as that can be told."""
    seconds = elapsed(sync, now)
    if seconds is None or not has_share(sync):
        return []
    rate = rate_text(rate_of(sync["read"], seconds))
    rest = remaining_text(remaining_seconds(sync["share"], seconds))
    return [("Rate", rate or "not known yet"), ("Remaining", rest or "not known yet")]


def _range(sync: Sync) -> str:
    start, end = (utc_moment(sync[name]) if sync[name] else "" for name in ("range_start", "range_end"))
    if not start and not end:
        return ""
    # The end of one that reads all until it began is a little later, since clocks differ.
    begun = sync["started_at"] or sync["created_at"]
    if end and sync["kind"] != "live" and datetime.fromisoformat(sync["range_end"]) > datetime.fromisoformat(begun):
        end = "its begin" if sync["finished_at"] else ""
    return f"{start or 'the beginning'} to {end or 'now'}"


def _resources(sync: Sync) -> Table:
    table = make_table(("resource", ""), ("share", "read", "written"))
    for row in sync["progress"]:
        bar = ProgressBar(total=1.0, completed=row["share"], width=BAR)
        done = row["confirmed"] and not row["cause"]
        share = Text("done", style="green") if done else Text(f"{percent_of(row['share'])} %")
        share = Text("stopped", style="yellow") if row["cause"] else share
        table.add_row(row["resource"], bar, share, f"{row['read']:,}", f"{written(row['counts']):,}")
    return table


def _causes(sync: Sync) -> list[RenderableType]:
    causes = [(row["resource"], row["cause"]) for row in sync["progress"] if row["cause"]]
    return [Text(), facts_view([(name, Text(plain(cause))) for name, cause in causes])] if causes else []
