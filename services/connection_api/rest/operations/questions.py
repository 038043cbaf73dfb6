"""What can be asked with ready questions."""

from __future__ import annotations

from services.connection_api.rest import models
from services.connection_api.rest.operations.operation import Operation
from shared.http import Access

QUESTIONS = (
    Operation(
        name="list_questions",
        method="GET",
        path="/v1/connections/{id}/questions",
        summary="List the ready questions about a connection's rows.",
        access=Access.READ,
        answer=models.Page[models.QuestionAnswer],
    ),
    Operation(
        name="get_question",
        method="GET",
        path="/v1/connections/{id}/questions/{name}",
        summary="Show a ready question with its SQL, as it fits the destination's schema.",
        access=Access.READ,
        query=models.QuestionQuery,
        answer=models.QuestionSqlAnswer,
    ),
    Operation(
        name="answer_question",
        method="GET",
        path="/v1/connections/{id}/questions/{name}/answer",
        summary="Ask the destination: read-only, at most 100 rows, within two seconds.",
        access=Access.READ,
        query=models.QuestionQuery,
        answer=models.QuestionRowsAnswer,
        refusals=(409, 422),
    ),
)
