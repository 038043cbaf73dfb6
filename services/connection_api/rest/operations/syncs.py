"""What can be asked about syncs."""

from __future__ import annotations

from services.connection_api.rest import models
from services.connection_api.rest.operations.operation import Operation
from shared.http import Access

SYNCS = (
    Operation(
        name="create_sync",
        method="POST",
        path="/v1/connections/{id}/syncs",
        summary="Compare with Stripe now, or read resources or one object anew. "
        "Joins a queued sync that does the same.",
        access=Access.MANAGE,
        body=models.NewSync,
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
        query=models.ConnectionSyncQuery,
        answer=models.Page[models.SyncAnswer],
    ),
    Operation(
        name="list_all_syncs",
        method="GET",
        path="/v1/syncs",
        summary="List the syncs of all connections, newest first.",
        access=Access.READ,
        query=models.SyncQuery,
        answer=models.Page[models.SyncAnswer],
    ),
    Operation(
        name="export_syncs",
        method="GET",
        path="/v1/syncs/export",
        summary="Export syncs as CSV or JSON, newest first, however many they are.",
        access=Access.READ,
        query=models.SyncExportQuery,
        answer=models.SyncExportAnswer,
        also_answers=("text/csv",),
    ),
    Operation(
        name="get_sync",
        method="GET",
        path="/v1/syncs/{id}",
        summary="Show a sync with its progress per resource.",
        access=Access.READ,
        answer=models.SyncDetailAnswer,
    ),
    Operation(
        name="verify_connection",
        method="POST",
        path="/v1/connections/{id}/verify",
        summary="Compare a connection's rows with what Stripe has: a sample, or all of them. Writes no row. "
        "Joins a queued one that does the same.",
        access=Access.MANAGE,
        body=models.NewComparison,
        answer=models.SyncAnswer,
        status=202,
        refusals=(409,),
    ),
    Operation(
        name="list_differences",
        method="GET",
        path="/v1/syncs/{id}/differences",
        summary="List the differences that a comparison has confirmed: the first 1,000, in the order of finding.",
        access=Access.READ,
        query=models.PageQuery,
        answer=models.Page[models.DifferenceAnswer],
    ),
    Operation(
        name="repair_sync",
        method="POST",
        path="/v1/syncs/{id}/repair",
        summary="Ask Stripe for every object that a comparison has named, and write what it answers.",
        access=Access.MANAGE,
        answer=models.RepairAnswer,
        status=202,
        refusals=(409,),
    ),
    Operation(
        name="pause_sync",
        method="POST",
        path="/v1/syncs/{id}/pause",
        summary="Let a sync wait; it stops at its next checkpoint.",
        access=Access.MANAGE,
        answer=models.SyncAnswer,
        refusals=(409,),
    ),
    Operation(
        name="resume_sync",
        method="POST",
        path="/v1/syncs/{id}/resume",
        summary="Let a paused sync go on from its checkpoint.",
        access=Access.MANAGE,
        answer=models.SyncAnswer,
        refusals=(409,),
    ),
    Operation(
        name="cancel_sync",
        method="POST",
        path="/v1/syncs/{id}/cancel",
        summary="Give a sync up for good; what it has written stays.",
        access=Access.MANAGE,
        answer=models.SyncAnswer,
        refusals=(409,),
    ),
)
