"""Alarms as people read them: what each channel tells, when it is quiet, and what became of its messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from services.connection_api.alarms.channel import TEST, Channel, ChannelKind, Event
from services.connection_api.alarms.store import AlarmStore, Message
from services.connection_api.status import Tone

KINDS: Mapping[ChannelKind, str] = MappingProxyType(
    {ChannelKind.WEBHOOK: "Webhook", ChannelKind.SLACK: "Slack", ChannelKind.EMAIL: "E-mail"}
)
EVENTS: Mapping[str, str] = MappingProxyType(
    {
        Event.ACTION_REQUIRED: "Needs you",
        Event.RECORDS_FAILED: "Records failed",
        Event.DIFFERENCES_FOUND: "Differences found",
        Event.RECOVERED: "Recovered",
        Event.DELAYED: "Delayed",
        Event.BACKFILL_DONE: "Backfill done",
        TEST: "Test",
    }
)


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message, and what became of it."""

    id: str
    at: datetime
    what: str
    sentence: str
    url: str | None
    to: str
    outcome: str
    tone: Tone
    icon: str
    sent_at: datetime | None = None
    error: str | None = None
    next_try_at: datetime | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the first try has come to its end."""
        return self.sent_at is not None or self.error is not None


@dataclass(frozen=True, slots=True)
class ChannelView:
    """Where alarms go."""

    id: str
    name: str
    tells: str
    quiet: str | None
    last: MessageView | None


async def read_channels(store: AlarmStore) -> Sequence[ChannelView]:
    """Return all channels, the oldest first; raise `DatabaseUnavailableError`."""
    last = await store.last_messages()
    return [_channel(one, last.get(one.id)) for one in await store.list_channels()]


def name_of(channel: Channel) -> str:
    """Return what a channel is called."""
    return f"{KINDS[channel.kind]} {channel.shown}"


def message_view(message: Message) -> MessageView:
    """Return a message with what became of it."""
    outcome, tone, icon = _outcome(message)
    return MessageView(
        id=message.id,
        at=message.created_at,
        what=EVENTS.get(message.event, message.event),
        sentence=message.sentence,
        url=message.url,
        to=f"{KINDS[message.kind]} {message.shown}",
        outcome=outcome,
        tone=tone,
        icon=icon,
        sent_at=message.sent_at,
        error=message.last_error,
        next_try_at=message.next_try_at if message.last_error else None,
    )


def _outcome(message: Message) -> tuple[str, Tone, str]:
    if message.sent_at:
        return "Arrived", Tone.GOOD, "live"
    if message.is_given_up:
        return "Given up", Tone.BAD, "action-required"
    if message.last_error:
        return "Not arrived", Tone.WARNING, "delayed"
    return "On its way", Tone.BUSY, "backfilling"


def _channel(channel: Channel, last: Message | None) -> ChannelView:
    return ChannelView(
        id=channel.id,
        name=name_of(channel),
        tells=", ".join(words for event, words in EVENTS.items() if event in channel.events),
        quiet=channel.quiet.text if channel.quiet else None,
        last=message_view(last) if last else None,
    )
