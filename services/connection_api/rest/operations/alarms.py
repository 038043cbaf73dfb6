"""What can be asked about alarms."""

from __future__ import annotations

from services.connection_api.rest import models
from services.connection_api.rest.operations.operation import Operation
from shared.http import Access

ALARMS = (
    Operation(
        name="create_alarm",
        method="POST",
        path="/v1/alarms",
        summary="Add a place that alarms go to; a webhook's signing secret is shown once.",
        access=Access.MANAGE,
        body=models.NewAlarm,
        answer=models.NewAlarmAnswer,
        status=201,
        shows_secret=True,
        refusals=(409,),
    ),
    Operation(
        name="list_alarms",
        method="GET",
        path="/v1/alarms",
        summary="List where alarms go.",
        access=Access.READ,
        answer=models.AlarmsAnswer,
    ),
    Operation(
        name="delete_alarm",
        method="DELETE",
        path="/v1/alarms/{id}",
        summary="Remove an alarm and its messages; nothing goes there any more.",
        access=Access.MANAGE,
        answer=None,
        status=204,
    ),
    Operation(
        name="test_alarm",
        method="POST",
        path="/v1/alarms/{id}/test",
        summary="Send a test; the list of messages tells whether it has arrived.",
        access=Access.MANAGE,
        answer=models.MessageAnswer,
        status=202,
    ),
    Operation(
        name="list_alarm_messages",
        method="GET",
        path="/v1/alarms/messages",
        summary="List the messages of 35 days, newest first.",
        access=Access.READ,
        query=models.PageQuery,
        answer=models.Page[models.MessageAnswer],
    ),
)
