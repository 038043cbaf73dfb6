"""How each thing that a connection owes is said: what is wrong, since when, what mends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.connection_api.labels import label_of
from services.connection_api.status import Owed, Remedy, Severity
from shared.catalogue import WEBHOOK_ENDPOINT, permission_of
from shared.connections import Fault
from shared.errors import PermissionMissingError
from shared.refusals import Cause

MISSING = PermissionMissingError.code
MOST_COUNTED = 1000  # records that wait: more of them are not counted, since the page asks every second
LATE_AFTER = 300.0  # seconds by which the events may be behind: polling a quiet account takes a minute
WORK = {"slice": "A list", "question": "An object", "cleanup": "What has to be taken out of the rows"}
Row = Mapping[str, Any]


def owed_by_faults(faults: Iterable[Fault]) -> list[Owed]:
    """Say which resources have stopped: all missing permissions in one sentence, each other cause in its own."""
    rows = [
        {"code": f.code, "about": f.resource, "cause": f.cause, "permission": f.permission, "since": f.since}
        for f in faults
    ]
    return list(say_faults(rows))


def say_faults(rows: Sequence[Row]) -> Iterable[Owed]:
    """Say which resources have stopped, and whether our endpoint has."""
    missing = [row for row in rows if row["code"] == MISSING and row["about"] != WEBHOOK_ENDPOINT]
    if missing:
        yield _fault(missing, _missing(missing))
    for row in [row for row in rows if row not in missing]:
        yield _fault([row], _sentence(row["cause"]))


def _fault(rows: Sequence[Row], sentence: str) -> Owed:
    next_tries = [row["next_try_at"] for row in rows if row.get("next_try_at")]
    return Owed(
        code=rows[0]["code"],
        severity=Severity.PERSON,
        sentence=sentence,
        remedy=Remedy.UPDATE_KEY if any(row["permission"] for row in rows) else None,
        since=min(row["since"] for row in rows),
        attempts=max((row.get("attempts") or 0 for row in rows), default=0) or None,
        next_try_at=min(next_tries, default=None),
    )


def _missing(rows: Sequence[Row]) -> str:
    """Name each permission once, by its row in the Stripe Dashboard and by its slug."""
    needed = ((row, permission_of(row["about"])) for row in rows)
    named = {row["permission"] or one.slug: one.toggle for row, one in needed}
    names = ", ".join(f"{toggle} ({slug})" for slug, toggle in named.items())
    return f"Missing permissions: {names}. Everything else is still synced."


def say_stop(row: Row) -> Owed:
    """Say where delivery has stopped."""
    return Owed(
        code=row["code"],
        severity=Severity.PERSON,
        sentence=(
            f"{row['name']} refused {row['number']:,} of the last {row['whole']:,} records, so what comes is kept and "
            f"not sent there: {_sentence(row['cause'])}"
        ),
        fix="Mend the cause first, then press Deliver again: until then each record would only fail again.",
        remedy=Remedy.DELIVER_AGAIN,
        about=row["about"],
        letters=row["letters"],
        since=row["since"],
    )


def say_refusal(row: Row) -> Owed:
    """Say why webhooks are refused."""
    skew = row["whole"]
    is_clock = row["code"] == Cause.CLOCK
    cause = f"the clock differs by {skew:+,} s" if is_clock else "the signing secret does not fit"
    return Owed(
        code="webhooks_refused",
        severity=Severity.PERSON,
        sentence=f"Webhooks are refused: {cause}. Changes come by asking Stripe meanwhile.",
        fix=(
            "Set the clock of the machine that runs the webhook gateway, best by NTP."
            if is_clock
            else "Press Rotate webhook secret, or look whether somebody changed the endpoint at Stripe."
        ),
        remedy=None if is_clock else Remedy.ROTATE_SECRET,
        since=row["since"],
    )


def say_delay(row: Row) -> Owed:
    """Say what is tried again, with the records that wait for it."""
    is_destination = row["kind"] == "destination"
    many = f" ({row['number']:,} times)" if row["number"] > 1 and not is_destination else ""
    what = f"{row['name'] or 'A destination'} can't be written" if is_destination else WORK[row["kind"]] + " waits"
    return Owed(
        code=row["code"],
        severity=Severity.PERSON if row["fix"] else Severity.LATE,
        sentence=f"{what}{many}: {_sentence(row['cause'])}{_waiting(row['whole'])}",
        fix=row["fix"],
        remedy=Remedy.CHECK_DESTINATION if row["fix"] and row["about"] and is_destination else None,
        about=row["about"],
        since=row["since"],
        attempts=row["attempts"],
        next_try_at=row["next_try_at"],
    )


def say_unread(row: Row) -> Owed:
    """Say which list could not be read."""
    label = label_of(row["name"])
    if row["kind"] in ("reconcile", "gap_fill"):
        return Owed(
            code=row["code"],
            severity=Severity.LATE,
            sentence=f"{label}: the last comparison with Stripe failed. {_sentence(row['cause'])}",
            fix="The next comparison tries it again.",
            about=row["about"],
            since=row["since"],
        )
    if row["number"]:
        return Owed(
            code="read_again",
            severity=Severity.LATE,
            sentence=f"{label} could not be read: {_sentence(row['cause'])} It is read again at the moment.",
            about=row["about"],
            since=row["since"],
        )
    return Owed(
        code=row["code"],
        severity=Severity.PERSON,
        sentence=f"{label} could not be read, so rows may be missing: {_sentence(row['cause'])}",
        fix="Press Sync again and choose it; or take it out of What is synced.",
        remedy=Remedy.SYNC_AGAIN,
        about=row["about"],
        since=row["since"],
    )


def say_differences(row: Row) -> Owed:
    """Say how many rows a comparison has found wrong."""
    what = "1 row is" if row["number"] == 1 else f"{row['number']:,} rows are"
    return Owed(
        code="differences_found",
        severity=Severity.PERSON,
        sentence=f"{what} not what Stripe has: a comparison found it, and nobody has asked for the repair.",
        fix="Look at the differences, and press Repair.",
        remedy=Remedy.REPAIR,
        about=row["about"],
        since=row["since"],
    )


def say_failed(row: Row) -> Owed:
    """Say how many records could not be written, and are not tried again until a person says so."""
    what = "1 record failed and is" if row["number"] == 1 else f"{row['number']:,} records failed and are"
    return Owed(
        code="records_failed",
        severity=Severity.PERSON,
        sentence=f"{what} not written.",
        fix="Mend the cause, then press Replay; or press Discard for what nobody needs.",
        remedy=Remedy.SHOW_FAILED,
        since=row["since"],
    )


def say_gap(row: Row) -> Owed:
    """Say what found no room to wait."""
    return Owed(
        code="no_room_to_wait",
        severity=Severity.LATE,
        sentence=(
            f"{row['name']} is behind, and {row['number']:,} changes found no room to wait for it. "
            "They are read from Stripe again once it has caught up."
        ),
        about=row["about"],
        since=row["since"],
    )


def say_relist(row: Row) -> Owed:
    """Say that what found no room is read again."""
    return Owed(
        code="read_again",
        severity=Severity.LATE,
        sentence="A destination had no room for some changes. They are read from Stripe again at the moment.",
        about=row["about"],
        since=row["since"],
    )


def _waiting(number: int | None) -> str:
    return f" {_records(number)} for it." if number else ""


def _records(number: int) -> str:
    if number >= MOST_COUNTED:
        return f"{MOST_COUNTED:,} records or more wait"
    return "1 record waits" if number == 1 else f"{number:,} records wait"


def say_parked(row: Row) -> Owed:
    """Say how many records wait for a destination, or are held back."""
    records = _records(row["number"])
    if row["code"] == "held":
        return Owed(
            code="held",
            severity=Severity.PERSON,
            sentence=f"{records} for {row['name']}, held back although delivery goes on.",
            fix="Press Deliver again.",
            remedy=Remedy.DELIVER_AGAIN,
            about=row["about"],
            since=row["since"],
        )
    return Owed(
        code="records_wait",
        severity=Severity.LATE,
        sentence=f"{records} for {row['name']}, the oldest for {_how_long(row['whole'])}: {_sentence(row['cause'])} "
        "Nothing is lost: all are kept and tried again.",
        about=row["about"],
        since=row["since"],
        attempts=row["attempts"],
        next_try_at=row["next_try_at"],
    )


def owed_by_events(events_complete_to: int, *, now: datetime) -> Owed | None:
    """Return what is owed when the events that are polled are known only up to a time in Stripe's clock."""
    late = now.timestamp() - events_complete_to
    if late <= LATE_AFTER:
        return None
    return Owed(
        code="events_late",
        severity=Severity.LATE,
        sentence=f"Changes arrive {_how_long(late)} late. Tillstream is catching up.",
        since=datetime.fromtimestamp(events_complete_to, now.tzinfo),
    )


def _how_long(seconds: float) -> str:
    """Round down, so that what is shown does not change every second."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if number := int(seconds // length):
            return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"
    return "less than a minute"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
