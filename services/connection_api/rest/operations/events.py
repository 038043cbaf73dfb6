"""What can be asked about events."""

from __future__ import annotations

from services.connection_api.rest import models
from services.connection_api.rest.operations.operation import Operation
from shared.http import Access

EVENTS = (
    Operation(
        name="list_events",
        method="GET",
        path="/v1/events",
        summary="Search the events of the last 35 days, newest first.",
        access=Access.READ,
        query=models.EventQuery,
        answer=models.Page[models.EventAnswer],
    ),
    Operation(
        name="get_event",
        method="GET",
        path="/v1/events/{id}",
        summary="Show an event's way: received, published, and what became of it at each destination.",
        access=Access.READ,
        answer=models.EventLifeAnswer,
    ),
)
