"""The seven words in which Tillstream says how a connection is: one meaning each, the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.connections import LiveBy, State


class Word(StrEnum):
    """How a connection is."""

    SETTING_UP = "Setting up"
    BACKFILLING = "Backfilling"
    LIVE = "Live"
    DELAYED = "Delayed"
    ACTION_REQUIRED = "Action required"
    PAUSED = "Paused"
    REMOVING = "Removing"


class Tone(StrEnum):
    """How a status is coloured; the icon and the word say the same."""

    QUIET = "quiet"
    BUSY = "busy"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class Remedy(StrEnum):
    """What a person can do about a status, in one step."""

    UPDATE_KEY = "update_key"
    RESUME = "resume"
    DELIVER_AGAIN = "deliver_again"
    SYNC_AGAIN = "sync_again"
    REPAIR = "repair"
    ROTATE_SECRET = "rotate_secret"  # noqa: S105 - a button
    CHECK_DESTINATION = "check_destination"
    SHOW_FAILED = "show_failed"


class Severity(StrEnum):
    """Whether what is owed needs somebody, or comes by itself."""

    PERSON = "person"
    LATE = "late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One thing that a connection owes its destinations, so that it is not live.

    `fix` says what a person does about it, `remedy` which button does it; `about` is the id of what the button or a
    link leads to (a destination, a sync), `letters` that of the dead letters of its cause.
    """

    code: str
    severity: Severity
    sentence: str
    fix: str | None = None
    remedy: Remedy | None = None
    about: str | None = None
    letters: str | None = None
    since: datetime | None = None
    attempts: int | None = None
    next_try_at: datetime | None = None


class Situation(Protocol):
    """What a status needs to know of a connection; `shared.connections.Connection` has it."""

    @property
    def state(self) -> State:
        """What the database keeps."""

    @property
    def cause(self) -> str | None:
        """Why a person has to act, or why a removal waits, in a sentence."""

    @property
    def live_by(self) -> LiveBy:
        """How changes reach us."""


@dataclass(frozen=True, slots=True)
class Status:
    """What people see: a word (with a percentage while backfilling), a sentence and the icon's name."""

    word: Word
    sentence: str
    tone: Tone
    icon: str
    percent: int | None = None
    remedy: Remedy | None = None
    fix: str | None = None
    worst: Owed | None = None  # what the sentence is about

    @property
    def text(self) -> str:
        """The word as it is shown, such as `Backfilling 42 %`."""
        return self.word if self.percent is None else f"{self.word} {self.percent} %"


LIVE_SENTENCES = {
    LiveBy.WEBHOOKS: "Stripe sends every change here, and it is written within seconds.",
    LiveBy.POLLING: "Tillstream asks Stripe for changes: every 2 seconds while things happen, "
    "every minute when it is quiet.",
}
FIXED = {
    State.SETTING_UP: Status(
        Word.SETTING_UP, "The key is checked and Stripe is asked to send its changes.", Tone.BUSY, "setting-up"
    ),
    State.PAUSED: Status(
        Word.PAUSED,
        "Paused. Changes made in the meantime are fetched when you resume.",
        Tone.QUIET,
        "paused",
        remedy=Remedy.RESUME,
    ),
    State.REMOVING: Status(
        Word.REMOVING, "The connection, its key and its history are being deleted.", Tone.QUIET, "removing"
    ),
}


def status_of(connection: Situation, owed: Sequence[Owed] = (), *, backfill_share: float | None) -> Status:
    """Return the connection's status: live only if nothing is owed; of what is, the worst is said and the rest counted.

    `owed` has the worst first; `backfill_share` is how far the open backfill is, from 0 to 1, or `None` when none is
    open.
    """
    if connection.state is State.REMOVING and connection.cause:
        sentence = f"The removal waits: {connection.cause} It is tried again by itself."
        return Status(Word.REMOVING, sentence, Tone.WARNING, "delayed")
    if fixed := FIXED.get(connection.state):
        return fixed
    if connection.state is State.ACTION_REQUIRED:
        owed = (dead_key(connection.cause), *owed)
    if owed:
        return _owing(owed[0], len(owed) - 1)
    if backfill_share is not None:
        sentence = "History is being copied; what changes meanwhile is written too."
        return Status(Word.BACKFILLING, sentence, Tone.BUSY, "backfilling", percent_of(backfill_share))
    return Status(Word.LIVE, LIVE_SENTENCES[connection.live_by], Tone.GOOD, "live")


def dead_key(cause: str | None) -> Owed:
    """Return what a connection owes whose key Stripe refuses."""
    sentence = cause or "Syncing has stopped and needs you."
    return Owed(code="key_refused", severity=Severity.PERSON, sentence=sentence, remedy=Remedy.UPDATE_KEY)


def _owing(worst: Owed, others: int) -> Status:
    more = "" if not others else " One more thing is owed." if others == 1 else f" {others} more things are owed."
    needs_person = worst.severity is Severity.PERSON
    return Status(
        word=Word.ACTION_REQUIRED if needs_person else Word.DELAYED,
        sentence=f"{worst.sentence}{more}",
        tone=Tone.BAD if needs_person else Tone.WARNING,
        icon="action-required" if needs_person else "delayed",
        remedy=worst.remedy,
        fix=worst.fix,
        worst=worst,
    )


def percent_of(share: float) -> int:
    """Return whole per cent of an unfinished whole: 100 is never reached before the end."""
    return max(0, min(99, math.floor(share * 100)))
