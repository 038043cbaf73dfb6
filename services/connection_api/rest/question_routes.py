"""Answers what is asked with ready questions."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from aiohttp import web

from services.connection_api.data.sources import Source
from services.connection_api.questions.asking import Asked
from services.connection_api.rest import models
from services.connection_api.rest.requests import read_id, read_query, write
from services.connection_api.state import State
from shared.http import Handler


class QuestionRoutes:
    """The routes about ready questions."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def handlers(self) -> dict[str, Handler]:
        """The handlers by their operations' names."""
        return {"list_questions": self.list, "get_question": self.show, "answer_question": self.answer}

    async def list(self, request: web.Request) -> web.Response:
        """Show all questions."""
        connection = await self._state.connections.get(read_id(request))
        rows = [
            models.QuestionAnswer(name=one.name, title=one.title, sentence=one.sentence, missing=missing)
            for one, missing in self._state.asking.listed(connection)
        ]
        return write(models.Page[models.QuestionAnswer](data=tuple(rows), next_cursor=None))

    async def show(self, request: web.Request) -> web.Response:
        """Show a question's SQL."""
        source, asked = await self._find(request)
        question = asked.question
        return write(
            models.QuestionSqlAnswer(
                name=question.name,
                title=question.title,
                sentence=question.sentence,
                missing=asked.missing,
                destination_id=source.destination.id,
                sql=asked.sql,
            )
        )

    async def answer(self, request: web.Request) -> web.Response:
        """Ask the destination."""
        source, asked = await self._find(request)
        answer = await self._state.asking.answer(source, asked)
        return write(
            models.QuestionRowsAnswer(
                name=asked.question.name,
                destination_id=source.destination.id,
                columns=tuple(models.ColumnAnswer(name=one.name, kind=one.kind.value) for one in answer.columns),
                rows=tuple(tuple(map(_plain, row)) for row in answer.rows),
                has_more=answer.has_more,
            )
        )

    async def _find(self, request: web.Request) -> tuple[Source, Asked]:
        query = read_query(request, models.QuestionQuery)
        source = await self._state.asking.find(read_id(request), query.destination_id)
        return source, self._state.asking.one(source, request.match_info["name"], zone=query.zone)


def _plain(value: Any) -> str | int | None:
    """Return a value as JSON can hold it without a loss."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if value is None or isinstance(value, int) else str(value)
