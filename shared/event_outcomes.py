"""What became of an event, in the event log's words."""

from __future__ import annotations

from enum import StrEnum


class EventOutcome(StrEnum):
    """What became of an event; of several destinations, what needs to be looked at first."""

    INSERTED = "inserted"
    UPDATED = "updated"
    DELETED = "deleted"
    UNCHANGED = "unchanged"  # the row said the same
    IGNORED = "ignored"  # a newer version was there
    ASKED_STRIPE = "asked_stripe"  # the event alone does not tell the newest state for certain
    NOT_SYNCED = "not_synced"
    PARKED = "parked"  # the destination could not take it yet
    LEFT_OUT = "left_out"  # too much waits for the destination: it is read from Stripe again
    FAILED = "failed"  # it became a dead letter
