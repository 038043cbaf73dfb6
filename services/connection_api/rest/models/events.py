"""Queries and answers about events."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from services.connection_api.rest.models.base import Answer, Id, PageQuery, StripeId


class EventQuery(PageQuery):
    """Which events are wanted."""

    connection_id: Id | None = None
    event_id: StripeId | None = None
    object_id: StripeId | None = None


class EventAnswer(Answer):
    """An event that reached its destinations, or was answered by asking Stripe."""

    connection_id: str
    event_id: str
    type: str
    resource: str | None
    object_id: str | None
    created: int = Field(description="Stripe's clock, in seconds since 1970.")
    outcome: str
    received_at: datetime | None
    written_at: datetime


class EventDestinationAnswer(Answer):
    """What became of an event at one destination."""

    destination_id: str
    destination_name: str
    outcome: str | None = Field(description="Null when only the outcome of the event as a whole is known.")
    is_waiting: bool = Field(description="Whether it is kept until the destination can take it.")
    code: str | None = Field(description="Why it became a dead letter.")
    reason: str | None
    since: datetime | None


class EventPathAnswer(Answer):
    """The way of an event through one connection."""

    connection_id: str
    received_at: datetime | None = Field(description="When the webhook came; null when Stripe was asked for it.")
    topic: str | None
    partition: int | None
    offset: int | None
    outcome: str
    written_at: datetime = Field(description="When it was dealt with.")
    destinations: tuple[EventDestinationAnswer, ...]


class EventLifeAnswer(Answer):
    """An event from Stripe to the destinations, for each connection that got it."""

    event_id: str
    type: str
    resource: str | None
    object_id: str | None
    created: int = Field(description="Stripe's clock, in seconds since 1970.")
    paths: tuple[EventPathAnswer, ...]
