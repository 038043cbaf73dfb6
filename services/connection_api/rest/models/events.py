"""Queries and answers about events."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from services.connection_api.rest.models.base import Answer, Id, Moment, PageQuery, ResourceName, StripeId
from shared.event_outcomes import EventOutcome


class EventQuery(PageQuery):
    """Which events are wanted."""

    connection_id: Id | None = None
    event_id: StripeId | None = None
    object_id: StripeId | None = None
    type: str | None = Field(
        default=None,
        max_length=255,
        pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?$",
        description="A type, such as `invoice.paid`, or all of a kind, such as `invoice.*`.",
    )
    resource: ResourceName | None = None
    outcome: EventOutcome | None = None
    since: Moment | None = Field(default=None, description="Written at or after this time.")
    until: Moment | None = Field(default=None, description="Written before this time.")


class EventDeliveryAnswer(Answer):
    """What became of an event at one destination, in short."""

    destination_id: str
    outcome: str
    code: str | None
    reason: str | None
    at: datetime


class EventAnswer(Answer):
    """An event that reached its destinations, or was answered by asking Stripe."""

    connection_id: str
    connection_name: str
    event_id: str
    type: str
    resource: str | None
    object_id: str | None
    created: int = Field(description="Stripe's clock, in seconds since 1970.")
    outcome: str
    received_at: datetime | None
    written_at: datetime
    destinations: tuple[EventDeliveryAnswer, ...] = Field(
        description="What became of it at each; empty where no destination was asked to take it."
    )


class StripeAnswerAnswer(Answer):
    """What became, at a destination, of Stripe's answer to a question that an event raised."""

    outcome: str
    reason: str | None
    at: datetime


class EventDestinationAnswer(Answer):
    """What became of an event at one destination."""

    destination_id: str
    destination_name: str
    outcome: str | None = Field(description="Null when only the outcome of the event as a whole is known.")
    code: str | None = Field(
        description="Why: older, equal, tombstone, tie, resource_not_synced, before_start_date, destination_removed; "
        "of a dead letter, its code."
    )
    reason: str | None = Field(description="The same as a sentence.")
    at: datetime | None = Field(description="When it was decided.")
    parked_at: datetime | None = Field(description="Since when it waits, or had waited before.")
    is_waiting: bool = Field(description="Whether it is kept until the destination can take it.")
    next_try_at: datetime | None = Field(
        None, description="When it is tried next while it waits; null while a person has to let delivery go on."
    )
    answer: StripeAnswerAnswer | None = Field(description="What became of Stripe's answer, where Stripe was asked.")


class EventQuestionAnswer(Answer):
    """A question for Stripe about the event's object that is not answered yet."""

    reason: str
    due_at: datetime
    attempts: int


class ChangeAnswer(Answer):
    """A field that an event changed."""

    field: str
    old: str | None = Field(description="Its value before, as JSON, at most 200 characters; null: it was not there.")
    new: str | None = Field(description="Its value after, likewise.")


class ChangesAnswer(Answer):
    """What an event changed in its object, without what is left out."""

    changes: tuple[ChangeAnswer, ...]
    is_cut: bool = Field(description="Whether the event changed more than is kept of it.")


class EventPathAnswer(Answer):
    """The way of an event through one connection."""

    connection_id: str
    connection_name: str
    received_at: datetime | None = Field(description="When the webhook came; null when Stripe was asked for it.")
    topic: str | None
    partition: int | None
    offset: int | None
    outcome: str
    written_at: datetime = Field(description="When it was dealt with.")
    question: EventQuestionAnswer | None = Field(description="What Stripe is being asked about the object now.")
    changes: ChangesAnswer | None = Field(
        description="What it changed; null where it tells of no change, or that is not kept any more."
    )
    destinations: tuple[EventDestinationAnswer, ...]


class EventLifeAnswer(Answer):
    """An event from Stripe to the destinations, for each connection that got it."""

    event_id: str
    type: str
    resource: str | None
    object_id: str | None
    created: int = Field(description="Stripe's clock, in seconds since 1970.")
    paths: tuple[EventPathAnswer, ...]
