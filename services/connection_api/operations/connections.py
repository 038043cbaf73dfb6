"""What can be asked about connections."""

from __future__ import annotations

from services.connection_api import models
from services.connection_api.operations.operation import Operation
from shared.http import Access

CONNECTIONS = (
    Operation(
        name="create_connection",
        method="POST",
        path="/v1/connections",
        summary="Connect a Stripe account: check the key, make the webhook endpoint, begin the backfill.",
        access=Access.MANAGE,
        body=models.NewConnectionBody,
        answer=models.ConnectionAnswer,
        status=201,
        refusals=(409,),
    ),
    Operation(
        name="list_connections",
        method="GET",
        path="/v1/connections",
        summary="List connections.",
        access=Access.READ,
        query=models.PageQuery,
        answer=models.Page[models.ConnectionAnswer],
    ),
    Operation(
        name="get_connection",
        method="GET",
        path="/v1/connections/{id}",
        summary="Show a connection with its newest backfill.",
        access=Access.READ,
        answer=models.ConnectionAnswer,
    ),
    Operation(
        name="pause_connection",
        method="POST",
        path="/v1/connections/{id}/pause",
        summary="Stop calling Stripe for a connection.",
        access=Access.MANAGE,
        answer=models.ConnectionAnswer,
        refusals=(409,),
    ),
    Operation(
        name="resume_connection",
        method="POST",
        path="/v1/connections/{id}/resume",
        summary="Go on after a pause.",
        access=Access.MANAGE,
        answer=models.ConnectionAnswer,
        refusals=(409,),
    ),
)
