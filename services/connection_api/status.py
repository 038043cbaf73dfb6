"""The seven words in which Tillstream says how a connection is: one meaning each, the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from shared.catalogue import WEBHOOK_ENDPOINT, permission_of
from shared.connections import Fault, LiveBy, State
from shared.errors import PermissionMissingError

MISSING = PermissionMissingError.code
LATE_AFTER = 300.0  # seconds: polling a quiet account takes a minute, and a webhook that is tried again a few


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


class Situation(Protocol):
    """What a status needs to know of a connection; `shared.connections.Connection` has it."""

    @property
    def state(self) -> State:
        """What the database keeps."""

    @property
    def cause(self) -> str | None:
        """Why a person has to act, in a sentence."""

    @property
    def live_by(self) -> LiveBy:
        """How changes reach us."""

    @property
    def faults(self) -> Sequence[Fault]:
        """The resources that have stopped."""


@dataclass(frozen=True, slots=True)
class Status:
    """What people see: a word (with a percentage while backfilling), a sentence and the icon's name."""

    word: Word
    sentence: str
    tone: Tone
    icon: str
    percent: int | None = None
    remedy: Remedy | None = None

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
        "Stripe is not asked anything until you resume; what changes meanwhile follows then.",
        Tone.QUIET,
        "paused",
        remedy=Remedy.RESUME,
    ),
    State.REMOVING: Status(
        Word.REMOVING, "The connection, its key and its history are being deleted.", Tone.QUIET, "removing"
    ),
}


def status_of(
    connection: Situation,
    *,
    backfill_share: float | None,
    lag_seconds: float = 0.0,
    waiting: int = 0,
    stopped: str | None = None,
    left_out: int = 0,
) -> Status:
    """Return the connection's status.

    `backfill_share` is how far the open backfill is, from 0 to 1, or `None` when none is open; `lag_seconds` is how
    old the oldest change is that should be written and is not; `waiting` counts records that the destination could
    not take yet, `left_out` those for which there was no room to wait; `stopped` says why delivery to a destination
    has stopped.
    """
    if fixed := FIXED.get(connection.state):
        return fixed
    if connection.state is State.ACTION_REQUIRED:
        cause = connection.cause or "Syncing has stopped and needs you."
        return _action_required(cause)
    if stopped:
        return _action_required(stopped, Remedy.DELIVER_AGAIN)
    if connection.faults:
        is_the_keys = any(fault.permission for fault in connection.faults)
        return _action_required(_stopped(connection.faults), Remedy.UPDATE_KEY if is_the_keys else None)
    # A backfill is late by nature; only a destination that takes nothing makes it worth a warning.
    if left_out or (lag_seconds > LATE_AFTER and (waiting or backfill_share is None)):
        return Status(Word.DELAYED, _delay(lag_seconds, waiting, left_out), Tone.WARNING, "delayed")
    if backfill_share is not None:
        sentence = "History is being copied; what changes meanwhile is written too."
        return Status(Word.BACKFILLING, sentence, Tone.BUSY, "backfilling", percent_of(backfill_share))
    return Status(Word.LIVE, LIVE_SENTENCES[connection.live_by], Tone.GOOD, "live")


def percent_of(share: float) -> int:
    """Return whole per cent of an unfinished whole: 100 is never reached before the end."""
    return max(0, min(99, math.floor(share * 100)))


def _action_required(cause: str, remedy: Remedy | None = Remedy.UPDATE_KEY) -> Status:
    return Status(Word.ACTION_REQUIRED, cause, Tone.BAD, "action-required", remedy=remedy)


def _stopped(faults: Sequence[Fault]) -> str:
    lacking = [fault for fault in faults if fault.code == MISSING and fault.resource != WEBHOOK_ENDPOINT]
    others = [fault.cause for fault in faults if fault not in lacking]
    return " ".join([*([_missing(lacking)] if lacking else []), *others])


def _missing(faults: Sequence[Fault]) -> str:
    """Name each permission once, by its row in the Stripe Dashboard and by its slug."""
    needed = ((fault, permission_of(fault.resource)) for fault in faults)
    named = {fault.permission or one.slug: one.toggle for fault, one in needed}
    names = ", ".join(f"{toggle} ({slug})" for slug, toggle in named.items())
    return f"Missing permissions: {names}. Everything else is still synced."


def _delay(lag_seconds: float, waiting: int, left_out: int) -> str:
    minutes = f"{lag_seconds / 60:,.0f} minutes"
    if left_out:
        return (
            f"A destination is {minutes} behind, and {left_out:,} changes found no room to wait for it. "
            "They are read from Stripe again once it has caught up."
        )
    if waiting:
        records = "1 record waits" if waiting == 1 else f"{waiting:,} records wait"
        return f"{records} for the destination, up to {minutes} by now. They are kept and tried again."
    return f"Changes arrive {minutes} late. Tillstream is catching up."
