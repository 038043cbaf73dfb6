"""How the history of an account arrives: rows so far, how fast, and what to do once it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.connection_api.overview import Backfill, Card
from services.connection_api.pace import (
    duration_text,
    elapsed_of,
    rate_of,
    rate_text,
    remaining_seconds,
    remaining_text,
)
from services.connection_api.questions.asking import QUESTIONS
from services.connection_api.questions.question import Question, missing
from services.connection_api.views.figures import TableFigures
from shared.syncs import Status

FIRST = "revenue_by_day"  # what most people ask first
HEADINGS = {
    Status.QUEUED: "The history is copied soon",
    Status.RUNNING: "Copying the history",
    Status.PAUSED: "Copying the history is paused",
    Status.SUCCEEDED: "History copied",
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A backfill as the page of its account tells it."""

    backfill: Backfill
    rows: int  # of the connection, over all its destinations
    tables: int  # that have rows
    rate: str | None  # while it runs
    remaining: str | None  # while it runs
    took: str | None  # once it has ended
    question: Question | None  # that can be answered now

    @property
    def heading(self) -> str:
        """How far it is, in a few words."""
        return HEADINGS[self.backfill.status]


def arrival_of(card: Card, tables: Sequence[TableFigures], now: datetime) -> Arrival | None:
    """Return how an account's newest backfill is told; `None` where it is no news, or has failed."""
    backfill = card.backfill
    if backfill is None or backfill.status not in HEADINGS or (not backfill.is_open and backfill.what):
        return None
    elapsed = elapsed_of(backfill.started_at, backfill.finished_at, now) or 0.0
    is_running = backfill.status is Status.RUNNING
    return Arrival(
        backfill=backfill,
        rows=card.rows,
        tables=sum(table.rows > 0 for table in tables),
        rate=rate_text(rate_of(backfill.written, elapsed)) if is_running else None,
        remaining=remaining_text(remaining_seconds(backfill.share, elapsed)) if is_running else None,
        took=duration_text(elapsed) if backfill.finished_at and backfill.started_at else None,
        question=None if backfill.is_open or not card.rows else _question(tables),
    )


def _question(tables: Sequence[TableFigures]) -> Question | None:
    """Return the first question that the tables answer."""
    synced = [table.resource for table in tables]
    fitting = [one for one in QUESTIONS.values() if not missing(one, synced)]
    return min(fitting, key=lambda one: one.name != FIRST, default=None)
