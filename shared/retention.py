"""How long things are kept: the one table from which they are deleted and from which people are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

LETTERS_LIFE = timedelta(days=35)
HISTORY = timedelta(days=35)  # events are compared with a feed of 30 days; what is older than its overlap is of no use
UNITS = ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"))


@dataclass(frozen=True, slots=True)
class Kept:
    """Until when rows of a table are kept: so long after the time in a column.

    `what` says what they are, empty for what nobody asks about; `until` what the column's time is, where it is an end.
    """

    column: str
    life: timedelta = timedelta()
    what: str = ""
    until: str = ""

    @property
    def expired(self) -> str:
        """SQL that is true of a row whose time is over."""
        return f"{self.column} < now() - interval '{int(self.life.total_seconds())} seconds'"

    @property
    def how_long(self) -> str:
        """How long, as people read it."""
        if not self.until:
            return spell(self.life)
        return f"{spell(self.life)} after {self.until}" if self.life else f"Until {self.until}"


# By table. A worker deletes what has expired.
EXPIRING: Mapping[str, Kept] = MappingProxyType(
    {
        "event_log": Kept("written_at", HISTORY, "Events, and where each one went"),
        "event_hours": Kept("hour", HISTORY, "Figures of events, by the hour"),
        "stripe_hours": Kept("hour", HISTORY, "Calls to Stripe, by the hour"),
        "alarm_messages": Kept("created_at", HISTORY, "Messages of alarms"),
        "idempotency_keys": Kept("created_at", timedelta(days=1), "Answers to repeatable requests, encrypted"),
        "sessions": Kept("expires_at", what="Sessions of browsers", until="they end, or somebody signs out"),
        "sign_in_links": Kept("expires_at", what="Links to sign in", until="they end"),
        "setups": Kept("expires_at", what="Unfinished set-ups, with their keys", until="they end, after a day"),
        # A gateway goes on taking a secret that it has read for some seconds.
        "webhook_secrets": Kept(
            "expires_at", timedelta(hours=1), "Replaced signing secrets", until="the last webhook that may use them"
        ),
        "stripe_budgets": Kept("next_at", timedelta(days=1)),
        "leases": Kept("until", timedelta(days=1)),
    }
)
# What nothing deletes but a person.
LASTING: Mapping[str, str] = MappingProxyType(
    {
        "Rows in your databases": "Until you remove them",
        "Connections, their keys and their syncs": "Until you remove the connection",
        "The audit log": "For good",
    }
)


def spell(life: timedelta) -> str:
    """Return a length of time in words, such as `8 days 1 hour`."""
    parts = []
    for unit, name in UNITS:
        number, life = divmod(life, unit)
        if number:
            parts.append(f"{number} {name}{'' if number == 1 else 's'}")
    return " ".join(parts) or "less than an hour"
