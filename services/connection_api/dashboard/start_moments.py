"""From when on objects are kept, as a form says it: presets, or a moment of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from shared.errors import PayloadError

ALL_TIME = "all"
CUSTOM = "custom"
DAYS = (("2 years", 730), ("1 year", 365), ("90 days", 90), ("Today", 0))


@dataclass(frozen=True, slots=True)
class Preset:
    """A start date that is offered; `at` is the beginning of a day in the viewer's zone, `None` for everything."""

    label: str
    at: datetime | None
    zone: tzinfo

    @property
    def day(self) -> str:
        """The day and its zone, as people read them."""
        return f"{self.at.astimezone(self.zone):%-d %b %Y}, 00:00 {self.zone}" if self.at else ""

    @property
    def value(self) -> str:
        """What the form sends for it."""
        return ALL_TIME if self.at is None else as_text(self.at)


def presets(now: datetime, zone: tzinfo) -> Sequence[Preset]:
    """Return what is offered at the time `now`; days begin as in the zone."""
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [Preset(label, (today - timedelta(days=days)).astimezone(UTC), zone) for label, days in DAYS]
    return [Preset("All time", None, zone), *starts]


def read_start(form: Mapping[str, Any]) -> datetime | None:
    """Return what a form says, `None` for everything; raise `PayloadError`.

    A browser with scripts sends the moment in UTC; without them the one of the field counts, which is UTC then.
    """
    start = str(form.get("start", ""))
    if start == ALL_TIME:
        return None
    text = str(form.get("custom", "")) if start == CUSTOM else start
    try:
        at = datetime.fromisoformat(text)
        return (at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)).replace(microsecond=0)
    except (ValueError, OverflowError) as error:
        raise PayloadError("Choose when to start.", field="custom" if start == CUSTOM else "start") from error


def as_text(at: datetime) -> str:
    """Return the moment as forms send it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def form_values(now: datetime, start: datetime | None, zone: tzinfo = UTC) -> dict[str, object]:
    """Return what templates/start_date_fields.html needs to show `start` as chosen."""
    offered = presets(now, zone)
    value = ALL_TIME if start is None else as_text(start)
    is_offered = any(preset.value == value for preset in offered)
    return {
        "presets": offered,
        "chosen": value if is_offered else CUSTOM,
        "custom": None if is_offered or start is None else f"{start.astimezone(UTC):%Y-%m-%dT%H:%M:%S}",
        "latest": f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%S}",
        "start": start,
        "estimate": None,
    }
