"""How syncs are shown: one word and one icon for each state, in the order and the words that people read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.connection_api.labels import label_of, rank_of
from services.connection_api.overview import NOTHING
from services.connection_api.pace import (
    duration_text,
    elapsed_of,
    rate_of,
    rate_text,
    remaining_seconds,
    remaining_text,
)
from services.connection_api.status import Tone, percent_of
from shared.connections import Fault
from shared.errors import PermissionMissingError
from shared.sync_progress import Counts, ResourceProgress
from shared.syncs import Kind, Outcome, Status, Sync

OPEN = frozenset({Status.QUEUED, Status.RUNNING, Status.PAUSED})
STEERABLE = frozenset({Kind.BACKFILL, Kind.MANUAL, Kind.VERIFY})  # what a person can pause and cancel
NOT_HERE = "resource_unavailable"  # the account has no such product: nothing is wrong


@dataclass(frozen=True, slots=True)
class Word:
    """A state in one word, with the icon and the colour that say the same."""

    text: str
    tone: Tone
    icon: str


STOPPED = Word("Stopped", Tone.BAD, "action-required")
STATUSES: Mapping[Status, Word] = {
    Status.QUEUED: Word("Queued", Tone.QUIET, "setting-up"),
    Status.RUNNING: Word("Running", Tone.BUSY, "sync"),
    Status.PAUSED: Word("Paused", Tone.QUIET, "paused"),
    Status.SUCCEEDED: Word("Succeeded", Tone.GOOD, "live"),
    Status.FAILED: Word("Failed", Tone.BAD, "missing"),
    Status.CANCELLED: Word("Cancelled", Tone.QUIET, "unavailable"),
}
# What is worth another word than its status.
OUTCOMES: Mapping[Outcome, Word] = {
    Outcome.STOPPED: STOPPED,
    Outcome.PARTIAL: Word("Succeeded with failures", Tone.WARNING, "action-required"),
    Outcome.DIFFERENCES: Word("Differences found", Tone.WARNING, "action-required"),
}
PARTLY_COMPARED = Word("Compared in part", Tone.WARNING, "action-required")
KINDS: Mapping[Kind, str] = {
    Kind.BACKFILL: "Backfill",
    Kind.GAP_FILL: "Gap fill",
    Kind.LIVE: "Live",
    Kind.RECONCILE: "Reconcile",
    Kind.MANUAL: "Manual",
    Kind.VERIFY: "Verify",
}
MEANINGS: Mapping[Kind, str] = {
    Kind.BACKFILL: "Copies your Stripe history since the start date.",
    Kind.GAP_FILL: "Reads Stripe's event feed for what no webhook has told.",
    Kind.LIVE: "The changes that Stripe sent within this hour.",
    Kind.RECONCILE: "Compares with Stripe and brings what was missed.",
    Kind.MANUAL: "Re-syncs what you selected.",
    Kind.VERIFY: "Compares your rows with Stripe. Nothing is changed.",
}


@dataclass(frozen=True, slots=True)
class Account:
    """A connection, as lists name it, and its account."""

    id: str
    account_id: str
    account_name: str
    given: str | None  # the connection's own name
    livemode: bool

    @property
    def name(self) -> str:
        """What people call the connection."""
        return self.given or self.account_name.strip() or self.account_id


@dataclass(frozen=True, slots=True)
class SyncView:
    """A sync as a row of the list, and as the head of its page."""

    sync: Sync
    account: Account
    now: datetime

    @property
    def word(self) -> Word:
        """How far it is."""
        if self.sync.outcome is Outcome.PARTIAL and self.sync.kind is Kind.VERIFY:
            return PARTLY_COMPARED
        return OUTCOMES.get(self.sync.outcome) or STATUSES[self.sync.status]

    @property
    def letters(self) -> str:
        """Where the records that it could not write are: an hour of live changes has no slices to know them by."""
        if self.sync.kind is Kind.LIVE:
            return f"/dead-letters?connection_id={self.account.id}"
        return f"/dead-letters?sync_id={self.sync.id}"

    def letters_of(self, resource: str) -> str:
        """Return where those of one resource are."""
        return f"{self.letters}&resource={resource}"

    @property
    def kind(self) -> str:
        """What it does, in a word."""
        return KINDS[self.sync.kind]

    @property
    def meaning(self) -> str:
        """What it does, in a sentence."""
        return MEANINGS[self.sync.kind]

    @property
    def trigger(self) -> str:
        """Why it began."""
        return self.sync.trigger[:1].upper() + self.sync.trigger[1:]

    @property
    def begun_at(self) -> datetime:
        """When it started; while it waits, when it was asked for."""
        return self.sync.started_at or self.sync.created_at

    @property
    def open_end(self) -> str | None:
        """How the end of its range reads, if it is no date: of one that reads all until it began, or goes on."""
        end = self.sync.range_end
        # Since clocks differ, the end is then a little later than its begin; an hour of live changes begins before it.
        if end and end > self.begun_at and self.sync.kind is not Kind.LIVE:
            return "until now" if self.is_open else "until it began"
        return "until now" if end and end > self.now else None

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.sync.status in OPEN

    @property
    def elapsed_seconds(self) -> float | None:
        """How long it took, or has taken so far; `None` before it has started."""
        return elapsed_of(self.sync.started_at, self.sync.finished_at, self.now)

    @property
    def duration(self) -> str | None:
        """How long it took, to be read."""
        return None if self.elapsed_seconds is None else duration_text(self.elapsed_seconds)

    @property
    def percent(self) -> int:
        """How much of the time range is covered."""
        return 100 if self.sync.status is Status.SUCCEEDED else percent_of(self.sync.share)

    @property
    def rate(self) -> str | None:
        """How many rows it reads in a second."""
        return rate_text(rate_of(self.sync.read, self.elapsed_seconds or 0))

    @property
    def remaining(self) -> str | None:
        """How long the rest will take; `None` when it can't be told."""
        if self.sync.status is not Status.RUNNING or self.sync.is_stopped:
            return None
        return remaining_text(remaining_seconds(self.sync.share, self.elapsed_seconds or 0))

    @property
    def can_pause(self) -> bool:
        """Whether a person can hold it."""
        return self.sync.kind in STEERABLE and self.sync.status in (Status.QUEUED, Status.RUNNING)

    @property
    def can_resume(self) -> bool:
        """Whether a person can let it go on."""
        return self.sync.kind in STEERABLE and self.sync.status is Status.PAUSED

    @property
    def can_cancel(self) -> bool:
        """Whether a person can end it."""
        return self.sync.kind in STEERABLE and self.is_open


@dataclass(frozen=True, slots=True)
class LineView:
    """How far a sync is with one resource."""

    name: str
    label: str
    percent: int
    read: int
    counts: Counts
    word: Word
    cause: str | None
    rate: str | None
    remaining: str | None

    @property
    def is_moving(self) -> bool:
        """Whether a bar tells more than a word."""
        return self.word is STATUSES[Status.RUNNING]


WAITING = Word("Waiting", Tone.QUIET, "setting-up")
DONE = Word("Done", Tone.GOOD, "live")
FAILED = Word("Failed", Tone.BAD, "missing")
NEEDS_PERMISSION = Word("Needs a permission", Tone.WARNING, "action-required")
REFUSED = Word("Refused by Stripe", Tone.WARNING, "action-required")
NOT_AVAILABLE = Word("Not available", Tone.QUIET, "unavailable")


def lines_of(view: SyncView, progress: Iterable[ResourceProgress], faults: Sequence[Fault]) -> list[LineView]:
    """Return a line for every resource of the sync, in the catalogue's order."""
    known = {one.resource: one for one in progress}
    stopped = {fault.resource: fault for fault in faults}
    names = sorted(known.keys() | set(view.sync.resources), key=lambda name: (rank_of(name), name))
    return [_line(view, name, known.get(name), stopped.get(name)) for name in names]


def _line(view: SyncView, name: str, progress: ResourceProgress | None, fault: Fault | None) -> LineView:
    word, cause = _state_of_line(view, progress, fault)
    share = progress.share if progress else 0.0
    read = progress.read if progress else 0
    elapsed = view.elapsed_seconds or 0.0
    is_moving = word is STATUSES[Status.RUNNING]
    return LineView(
        name=name,
        label=label_of(name),
        percent=100 if word is DONE else percent_of(share),
        read=read,
        counts=progress.counts if progress else NOTHING,
        word=word,
        cause=cause,
        rate=rate_text(rate_of(read, elapsed)) if is_moving else None,
        remaining=remaining_text(remaining_seconds(share, elapsed)) if is_moving else None,
    )


def _state_of_line(view: SyncView, progress: ResourceProgress | None, fault: Fault | None) -> tuple[Word, str | None]:
    status = view.sync.status
    if progress and progress.cause:
        return (NOT_AVAILABLE if progress.cause_code == NOT_HERE else FAILED), progress.cause
    if status is Status.SUCCEEDED or (progress and progress.confirmed):
        return DONE, None
    if fault and view.is_open:
        is_permission = fault.code == PermissionMissingError.code
        return (NEEDS_PERMISSION, _permission_sentence(fault)) if is_permission else (REFUSED, fault.cause)
    if status is Status.RUNNING:
        return (STATUSES[status] if progress and (progress.share or progress.read) else WAITING), None
    if status is Status.QUEUED:
        return WAITING, None
    return STATUSES[status], None


def _permission_sentence(fault: Fault) -> str:
    slug = f" ({fault.permission})" if fault.permission else ""
    return f"The key may not read this{slug}. It goes on by itself once the permission is there."
