"""Asks ready questions for a person: their SQL as it fits a destination, and their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.connection_api.data.sources import Source, Sources
from services.connection_api.labels import label_of
from services.connection_api.questions.question import Column, Question, Whose, load_all, missing
from shared.connections import Connection
from shared.errors import ConflictError, NotFoundError, RejectedError, TerminalError
from shared.postgres_reading import MOST_ROWS
from shared.postgres_views import LOOK, FoundView, judge, look_arguments
from shared.zones import find_zone

QUESTIONS: Mapping[str, Question] = load_all()


class NotSyncedError(ConflictError):
    """The connection does not sync what the question needs."""

    code = "not_synced"


class QuestionFailedError(RejectedError):
    """The destination could not answer the question."""

    code = "question_failed"
    status = 422


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is asked of one destination."""

    question: Question
    sql: str
    missing: tuple[str, ...]  # resources that have to be synced first

    @property
    def cure(self) -> str | None:
        """What has to be done before there is an answer."""
        if not self.missing:
            return None
        return f"Sync {' and '.join(label_of(one) for one in self.missing)} to answer this."


@dataclass(frozen=True, slots=True)
class Answer:
    """What a destination answered."""

    columns: tuple[Column, ...]
    rows: Sequence[tuple[Any, ...]]
    has_more: bool


class Asking:
    """Asks questions about a connection's rows."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def find(self, connection_id: str, destination_id: str | None = None) -> Source:
        """Return whose rows are asked about; raise `NotFoundError` and `DatabaseUnavailableError`."""
        return await self._sources.find(connection_id, destination_id)

    def listed(self, connection: Connection) -> list[tuple[Question, tuple[str, ...]]]:
        """Return every question, each with the resources that the connection has to sync first."""
        return [(question, missing(question, connection.resources)) for question in QUESTIONS.values()]

    def all(self, source: Source, *, zone: str = "UTC") -> list[Asked]:
        """Return every question as it fits the source; days are those of the zone."""
        return [self.one(source, name, zone=zone) for name in QUESTIONS]

    def one(self, source: Source, name: str, *, zone: str = "UTC") -> Asked:
        """Return one question as it fits the source; raise `NotFoundError`, and `RejectedError` for no zone."""
        question = QUESTIONS.get(name)
        if question is None:
            raise NotFoundError("There is no such question. The list of questions has their names.")
        if find_zone(zone) is None:
            raise RejectedError("This time zone is not known. Give one such as Europe/Berlin.", field="zone")
        connection = source.connection
        whose = Whose(source.schema, connection.account_id, connection.livemode, zone)
        return Asked(question, question.sql(whose), missing(question, connection.resources))

    async def answer(self, source: Source, asked: Asked) -> Answer:
        """Return at most 100 rows, and whether there are more.

        Raise `NotSyncedError`, `QuestionFailedError`, and what `Sources.open` raises.
        """
        if asked.cure:
            raise NotSyncedError(asked.cure)
        try:
            async with self._sources.open(source) as read:
                rows = await read(asked.sql)
        except TerminalError as error:
            raise QuestionFailedError(f"The destination could not answer: {error.message}") from error
        columns = asked.question.columns
        shown = [tuple(row[column.name] for column in columns) for row in rows[:MOST_ROWS]]
        return Answer(columns, shown, len(rows) > MOST_ROWS)

    async def views(self, source: Source) -> list[FoundView]:
        """Return how each view with amounts in major units is found; raise what `answer` raises of a destination."""
        try:
            async with self._sources.open(source) as read:
                return judge(source.schema, await read(LOOK, *look_arguments(source.schema)))
        except TerminalError as error:
            raise QuestionFailedError(f"The destination could not answer: {error.message}") from error
