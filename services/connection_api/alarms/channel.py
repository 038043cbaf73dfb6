"""Where alarms go: a webhook, Slack or e-mail, with the events that were chosen and the hours in which it is quiet."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from shared.zones import LONGEST_ZONE, find_zone


class Event(StrEnum):
    """What can be told of a connection."""

    ACTION_REQUIRED = "action_required"
    RECOVERED = "recovered"
    DELAYED = "delayed"
    RECORDS_FAILED = "records_failed"
    BACKFILL_DONE = "backfill_done"
    DIFFERENCES_FOUND = "differences_found"


TEST = "test"  # the event of a message that a person asked for
DEFAULT_EVENTS = tuple(event for event in Event if event not in (Event.DELAYED, Event.BACKFILL_DONE))


class ChannelKind(StrEnum):
    """How a message travels."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    EMAIL = "email"


class QuietHours(BaseModel):
    """Hours of each day in which nothing is told: from the begin on, up to the end, as clocks show them in the zone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    begin: time = Field(description="Such as `22:00`.")
    end: time = Field(description="Such as `07:00`, of the next day where it is earlier than the begin.")
    zone: str = Field(default="UTC", max_length=LONGEST_ZONE, description="Such as `Europe/Berlin`.")

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        if self.begin == self.end:
            raise ValueError("Quiet hours end at another time than they begin")
        if self.begin.tzinfo or self.end.tzinfo:
            raise ValueError("Give quiet hours as clocks show them, such as 22:00, and the zone beside them")
        if find_zone(self.zone) is None:
            raise ValueError("There is no such time zone. Give one such as Europe/Berlin")
        return self

    def include(self, now: datetime) -> bool:
        """Tell whether it is quiet at a time, which has its zone."""
        clock = now.astimezone(ZoneInfo(self.zone)).time()
        if self.begin < self.end:
            return self.begin <= clock < self.end
        return clock >= self.begin or clock < self.end

    def end_after(self, now: datetime) -> datetime:
        """Return when the quiet hours end next, after a time that has its zone."""
        here = now.astimezone(ZoneInfo(self.zone))
        end = here.replace(hour=self.end.hour, minute=self.end.minute, second=self.end.second, microsecond=0)
        if end.astimezone(UTC) <= now:
            end += timedelta(days=1)  # by the clock on the wall: a day may have 23 hours
        return end.astimezone(UTC)

    @property
    def text(self) -> str:
        """The hours, as people read them."""
        return f"{self.begin:%H:%M} to {self.end:%H:%M} {self.zone}"


@dataclass(frozen=True, slots=True)
class Channel:
    """One place that alarms go to; `shown` is what may be shown of its address."""

    id: str
    kind: ChannelKind
    shown: str
    events: tuple[str, ...]
    quiet: QuietHours | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Address:
    """Where a message is sent, and the secret with which a webhook is signed."""

    address: SecretStr
    secret: SecretStr | None = field(default=None)
