"""What can be asked about destinations."""

from __future__ import annotations

from services.connection_api.rest import models
from services.connection_api.rest.operations.operation import Operation
from shared.http import Access

DESTINATIONS = (
    Operation(
        name="test_destination",
        method="POST",
        path="/v1/destinations/test",
        summary="Try a Postgres address, also whether another one fills its schema. Nothing is left behind.",
        access=Access.MANAGE,
        body=models.DestinationTest,
        answer=models.DestinationTestAnswer,
    ),
    Operation(
        name="create_destination",
        method="POST",
        path="/v1/destinations",
        summary="Add a Postgres database after a test. Its schema gets a mark that says who fills it.",
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
        name="change_destination",
        method="PATCH",
        path="/v1/destinations/{id}",
        summary="Change a destination's name, choice about deleted rows or, after a test, address; or take its schema "
        "over. No row is moved.",
        access=Access.MANAGE,
        body=models.DestinationChange,
        answer=models.DestinationAnswer,
        refusals=(409,),
    ),
    Operation(
        name="try_destination",
        method="POST",
        path="/v1/destinations/{id}/test",
        summary="Try a destination with the password that is kept. Nothing is left behind.",
        access=Access.MANAGE,
        answer=models.DestinationTestAnswer,
    ),
    Operation(
        name="rebuild_destination",
        method="POST",
        path="/v1/destinations/{id}/rebuild",
        summary="Fill a destination again from Stripe: a backfill of each connection that delivers to it. "
        "Existing rows are only overwritten by newer data.",
        access=Access.MANAGE,
        answer=models.RebuildAnswer,
        status=202,
        refusals=(409,),
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
)
