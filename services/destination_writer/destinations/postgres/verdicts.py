"""What the statements' rows tell of the records that were written."""

from __future__ import annotations

import msgspec

from services.destination_writer.delivery import ChainResult, Outcome, Verdict, Version, Winner, is_doubtful
from services.destination_writer.destinations import Written, reason_of
from shared.db import Row


def is_explained(stamp: int, row: Row) -> bool:
    """Tell whether the row's statement has written the record, or has seen a newer version."""
    return bool(row["written"] or (row["stamp"] is not None and row["stamp"] >= stamp))


def is_tie(winner: Winner, row: Row) -> bool:
    """Tell whether the record and its row are of the same second, and differ."""
    record = winner.record
    if row["written"] or row["stamp"] != record.stamp:
        return False
    return not (row["same"] and row["deleted"] == record.is_deleted and row["tells_nothing_new"])


def answer(winner: Winner, row: Row, last_true: int) -> Written:
    """Return what became of a winner; `last_true` is the last stamp that can be true."""
    record = winner.record
    doubtful = row["stamp"] is not None and is_doubtful(
        is_silent=record.resource.changes_silently,
        current_is_listed=row["listed"],
        current_stamp=row["stamp"],
        incoming=record,
    )
    # A row whose stamp can't be true is no measure: Stripe's answer replaces it.
    is_false = not row["written"] and row["stamp"] is not None and row["stamp"] > last_true
    ask = winner.ask_stripe or is_false or (doubtful and not row["same"])
    outcome = _outcome(record.is_deleted, row)
    return Written(outcome, ask, reason=reason_of(outcome, ask=ask, is_buried=bool(row["deleted"])))


def _outcome(is_deleted: bool, row: Row) -> Outcome:
    if not row["written"]:
        same = row["same"] and row["deleted"] == is_deleted and row["stamp"] is not None
        return Outcome.UNCHANGED if same else Outcome.IGNORED
    if is_deleted:
        return Outcome.UNCHANGED if row["deleted"] else Outcome.DELETED
    if row["stamp"] is None:
        return Outcome.INSERTED
    return Outcome.UNCHANGED if row["same"] and not row["deleted"] else Outcome.UPDATED


def version(row: Row) -> Version:
    """Return the version that a locked row holds."""
    trail = tuple(msgspec.json.decode(row["trail"]))
    return Version(row["stamp"], msgspec.json.decode(row["body"]), is_deleted=row["deleted"], trail=trail)


def trail_text(trail: tuple[object, ...]) -> str:
    """Return a trail as it is written."""
    return msgspec.json.encode(trail).decode() if trail else "[]"


def settled(winner: Winner, current: Version, result: ChainResult) -> Written:
    """Return what became of a winner whose tie was settled."""
    if result.record is not None:
        outcome = Outcome.DELETED if result.record.is_deleted else Outcome.UPDATED
    else:
        outcome = Outcome.UNCHANGED if result.verdict is Verdict.SAME else Outcome.IGNORED
    ask = winner.ask_stripe or result.ask_stripe
    return Written(outcome, ask, reason=reason_of(outcome, ask=ask, is_buried=current.is_deleted))
