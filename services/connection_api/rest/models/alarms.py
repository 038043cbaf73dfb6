"""Bodies and answers about alarms."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr

from services.connection_api.alarms.channel import DEFAULT_EVENTS, ChannelKind, Event, QuietHours
from services.connection_api.rest.models.base import Answer, Input

LONGEST_ADDRESS = 2000  # characters


class NewAlarm(Input):
    """An alarm that is to be added."""

    kind: ChannelKind
    address: Annotated[SecretStr, Field(min_length=3, max_length=LONGEST_ADDRESS)] = Field(
        description="The URL of a webhook or of Slack's incoming webhook, or a mail address. It is stored encrypted."
    )
    events: tuple[Event, ...] = Field(
        default=DEFAULT_EVENTS, min_length=1, max_length=len(Event), description="What is told."
    )
    quiet_hours: QuietHours | None = Field(
        default=None, description="Nothing is told in these hours; what still holds when they end is told then."
    )


class AlarmAnswer(Answer):
    """Where alarms go."""

    id: str
    kind: ChannelKind
    shown: str = Field(description="The host of the address; of a mail address its first letter too.")
    events: tuple[Event, ...]
    quiet_hours: QuietHours | None = Field(validation_alias=AliasChoices("quiet", "quiet_hours"))
    created_at: datetime


class NewAlarmAnswer(Answer):
    """An alarm that was added."""

    alarm: AlarmAnswer
    signing_secret: str | None = Field(description="With which its webhooks are signed. It is shown only here.")


class AlarmsAnswer(Answer):
    """All alarms: there are at most fifty."""

    data: tuple[AlarmAnswer, ...]
    next_cursor: None = None


class MessageAnswer(Answer):
    """A message, and whether it has arrived."""

    id: str
    alarm_id: str = Field(validation_alias=AliasChoices("channel_id", "alarm_id"))
    connection_id: str | None = Field(description="Null of a test, and of a message about several connections.")
    connections: int = Field(
        validation_alias=AliasChoices("number", "connections"), description="How many connections it is about."
    )
    event: str = Field(description="One of the events, or `test`.")
    sentence: str
    url: str | None
    created_at: datetime
    sent_at: datetime | None = Field(description="When the receiver took it.")
    attempts: int
    last_error: str | None
    next_try_at: datetime | None = Field(description="Null once it has arrived or was given up.")
