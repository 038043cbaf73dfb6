"""What can be asked about dead letters."""

from __future__ import annotations

from services.connection_api.rest import models
from services.connection_api.rest.operations.operation import Operation
from shared.http import Access

DEAD_LETTERS = (
    Operation(
        name="list_dead_letter_groups",
        method="GET",
        path="/v1/dead-letters/groups",
        summary="List dead letters by their cause, that with the newest letter first.",
        access=Access.READ,
        query=models.LetterGroupQuery,
        answer=models.Page[models.LetterGroupAnswer],
    ),
    Operation(
        name="list_dead_letters",
        method="GET",
        path="/v1/dead-letters",
        summary="List dead letters, newest first.",
        access=Access.READ,
        query=models.LetterQuery,
        answer=models.Page[models.LetterAnswer],
    ),
    Operation(
        name="discard_dead_letters",
        method="POST",
        path="/v1/dead-letters/discard",
        summary="Delete dead letters for good: some by their ids, those that a filter fits, or all.",
        access=Access.MANAGE,
        body=models.LetterChoice,
        answer=models.DiscardAnswer,
        refusals=(404,),
    ),
    Operation(
        name="replay_dead_letters",
        method="POST",
        path="/v1/dead-letters/replay",
        summary="Try dead letters again: some by their ids, those that a filter fits, or all. The newest version wins.",
        access=Access.MANAGE,
        body=models.LetterChoice,
        answer=models.ReplayAnswer,
        status=202,
        refusals=(404, 409),
    ),
    Operation(
        name="list_dead_letter_replays",
        method="GET",
        path="/v1/dead-letters/replays",
        summary="List replays, newest first.",
        access=Access.READ,
        query=models.PageQuery,
        answer=models.Page[models.ReplayAnswer],
    ),
    Operation(
        name="get_dead_letter_replay",
        method="GET",
        path="/v1/dead-letters/replays/{id}",
        summary="Show how far a replay is.",
        access=Access.READ,
        answer=models.ReplayAnswer,
    ),
    Operation(
        name="get_dead_letter",
        method="GET",
        path="/v1/dead-letters/{id}",
        summary="Show a dead letter with its body.",
        access=Access.READ,
        answer=models.LetterDetailAnswer,
    ),
)
