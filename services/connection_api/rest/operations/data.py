"""What can be asked about rows at destinations."""

from __future__ import annotations

from services.connection_api.rest import models
from services.connection_api.rest.operations.operation import Operation
from shared.http import Access

DATA = (
    Operation(
        name="get_object",
        method="GET",
        path="/v1/objects/{id}",
        summary="Find an object of Stripe's by its id: its rows in every account and destination, read-only.",
        access=Access.READ,
        answer=models.ObjectAnswer,
    ),
)
