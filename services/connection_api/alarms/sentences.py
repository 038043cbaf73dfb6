"""What alarms say: the account first, then what is wrong, then what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.connection_api.alarms.channel import Event
from services.connection_api.alarms.rule import Due, Look, Need
from services.connection_api.standing import Standing
from services.connection_api.status import Owed, Remedy, Severity, Word
from shared.connections import State

LONGEST = 1000  # characters of a sentence
TEST_SENTENCE = "This is a test: alarms of Tillstream arrive here."
BUTTONS = {
    Remedy.UPDATE_KEY: "Update API Key",
    Remedy.DELIVER_AGAIN: "Deliver again",
    Remedy.SYNC_AGAIN: "Sync again",
    Remedy.REPAIR: "Show differences",
    Remedy.ROTATE_SECRET: "Rotate webhook secret",
    Remedy.CHECK_DESTINATION: "Show destination",
    Remedy.SHOW_FAILED: "Show the failed records",
}
# What has an event of its own.
EVENTS = {"records_failed": Event.RECORDS_FAILED, "differences_found": Event.DIFFERENCES_FOUND}
# In these words nothing can be said of how the connection would be.
SILENT = (Word.SETTING_UP, Word.PAUSED, Word.REMOVING)


def needs_of(standing: Standing) -> tuple[Need, ...] | None:
    """Return what a connection needs, the worst first; `None` while nothing is told, as of one that is paused."""
    if standing.status.word in SILENT:
        return None
    return tuple(need_of(owed) for owed in all_owed(standing))


def all_owed(standing: Standing) -> Sequence[Owed]:
    """Return all that a connection owes; a refused key stands in its row."""
    if standing.state is State.ACTION_REQUIRED and standing.status.worst:
        return (standing.status.worst, *standing.owed)
    return standing.owed


def need_of(owed: Owed) -> Need:
    """Return which event tells of what is owed."""
    if owed.severity is Severity.LATE:
        return Need(event=Event.DELAYED, code="late")  # its causes come and go
    return Need(event=EVENTS.get(owed.code, Event.ACTION_REQUIRED), code=owed.code)


def look_at(standing: Standing, backfilled_at: datetime | None) -> Look | None:
    """Return what the rule needs to know of a connection; `None` while nothing is told of it."""
    needs = needs_of(standing)
    return None if needs is None else Look(needs, backfilled_at)


def owed_of(due: Due, standing: Standing) -> Owed | None:
    """Return what a message is about; `None` where nothing is wrong."""
    return next((one for one in all_owed(standing) if need_of(one) == due.need), None) if due.need else None


def say(due: Due, name: str, owed: Owed | None) -> str:
    """Return the sentence of a message about the connection that is called `name`, and about what it owes."""
    if owed is None:
        sentence = {
            Event.RECOVERED: f"{name} has recovered: nothing needs you any more.",
            Event.BACKFILL_DONE: f"{name} has its history: the backfill is done.",
        }[due.event]
    else:
        opening = "is delayed" if due.event is Event.DELAYED else "needs you"
        sentence = f"{name} {opening}: {owed.sentence}{remedy_of(owed)}"
    return shortened(sentence)


def shortened(sentence: str) -> str:
    """Return a sentence that a message has place for."""
    return sentence if len(sentence) <= LONGEST else f"{sentence[: LONGEST - 1]}…"


def remedy_of(owed: Owed) -> str:
    """Return what mends it, to be said after its sentence; empty where it comes by itself."""
    if owed.fix:
        return f" {owed.fix}"
    return f" {BUTTONS[owed.remedy]}." if owed.remedy in BUTTONS else ""
