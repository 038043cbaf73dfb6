"""The REST API as one table: `routes` registers from it and `openapi` describes from it, so they can't diverge."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from services.connection_api import models
from shared.http import Access

OPENAPI_PATH = "/openapi.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that a caller can ask for."""

    name: str
    method: str
    path: str
    summary: str
    access: Access
    answer: type[BaseModel] | None
    status: int = 200
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    refusals: tuple[int, ...] = ()  # besides what its access, body, query and path bring by themselves


OPERATIONS = (
    Operation(
        name="test_destination",
        method="POST",
        path="/v1/destinations/test",
        summary="Try a Postgres address: name, login, version, schema, write, delete. Nothing is left behind.",
        access=Access.MANAGE,
        body=models.DestinationTest,
        answer=models.DestinationTestAnswer,
    ),
    Operation(
        name="create_destination",
        method="POST",
        path="/v1/destinations",
        summary="Add a Postgres database after a test.",
        access=Access.MANAGE,
        body=models.NewDestination,
        answer=models.DestinationAnswer,
        status=201,
        refusals=(409,),
    ),
    Operation(
        name="list_destinations",
        method="GET",
        path="/v1/destinations",
        summary="List destinations.",
        access=Access.READ,
        query=models.PageQuery,
        answer=models.Page[models.DestinationAnswer],
    ),
    Operation(
        name="get_destination",
        method="GET",
        path="/v1/destinations/{id}",
        summary="Show a destination.",
        access=Access.READ,
        answer=models.DestinationAnswer,
    ),
    Operation(
        name="delete_destination",
        method="DELETE",
        path="/v1/destinations/{id}",
        summary="Forget a destination that no connection uses; its rows stay.",
        access=Access.MANAGE,
        answer=None,
        status=204,
        refusals=(409,),
    ),
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
        name="create_sign_in_link",
        method="POST",
        path="/v1/sign-in-links",
        summary="Make a link that signs a browser in, once, within ten minutes.",
        access=Access.ADMIN,
        answer=models.SignInLinkAnswer,
        status=201,
    ),
)
