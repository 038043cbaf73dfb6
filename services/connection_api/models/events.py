"""Queries and answers about events."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from services.connection_api.models.base import Answer, Id, PageQuery, StripeId


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
