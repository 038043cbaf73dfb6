"""Queries and answers about ready questions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from services.connection_api.rest.models.base import Answer, Id, Input
from shared.zones import LONGEST_ZONE


class QuestionQuery(Input):
    """Where a question is asked, and whose days are meant."""

    destination_id: Id | None = Field(default=None, description="The connection's first one by name if left out.")
    zone: str = Field(default="UTC", min_length=1, max_length=LONGEST_ZONE, description="Such as Europe/Berlin.")


class QuestionAnswer(Answer):
    """A question that is ready to be asked."""

    name: str
    title: str
    sentence: str
    missing: tuple[str, ...] = Field(description="Resources that have to be synced before there is an answer.")


class QuestionSqlAnswer(QuestionAnswer):
    """A question with its SQL, whole: it needs no parameters."""

    destination_id: str
    sql: str


class ColumnAnswer(Answer):
    """A column of an answer."""

    name: str
    kind: Literal["text", "amount", "number", "time", "date"] = Field(
        description="An amount is in major units, as text, so that no digit is lost."
    )


class QuestionRowsAnswer(Answer):
    """What a destination answers."""

    name: str
    destination_id: str
    columns: tuple[ColumnAnswer, ...]
    rows: tuple[tuple[str | int | None, ...], ...] = Field(description="In the order of `columns`, at most 100.")
    has_more: bool = Field(description="Whether the SQL gives more rows than are shown.")
