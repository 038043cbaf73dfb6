"""What can be asked about syncs."""

from __future__ import annotations

from services.connection_api import models
from services.connection_api.operations.operation import Operation
from shared.http import Access

SYNCS = (
    Operation(
        name="create_sync",
        method="POST",
        path="/v1/connections/{id}/syncs",
        summary="Compare with Stripe now.",
        access=Access.MANAGE,
        answer=models.SyncAnswer,
        status=202,
        refusals=(409,),
    ),
    Operation(
        name="list_syncs",
        method="GET",
        path="/v1/connections/{id}/syncs",
        summary="List a connection's syncs, newest first.",
        access=Access.READ,
        query=models.PageQuery,
        answer=models.Page[models.SyncAnswer],
    ),
    Operation(
        name="get_sync",
        method="GET",
        path="/v1/syncs/{id}",
        summary="Show a sync with its progress per resource.",
        access=Access.READ,
        answer=models.SyncDetailAnswer,
    ),
)
