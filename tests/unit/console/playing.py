"""Plays the API from its own table of operations: a test gives the answers, and the models judge both sides."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import BaseModel, ValidationError

from services.connection_api.rest.operations import OPERATIONS, Operation

TOKEN = "played-token-0123456789"
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Call:
    """What was asked."""

    operation: str
    id: str | None
    body: dict[str, Any]
    query: dict[str, str]


@dataclass
class PlayedApi:
    """Answers as it was told; a call that does not fit the operation's models is refused as the API refuses it."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    _answers: dict[str, list[Any]] = field(default_factory=dict)

    def give(self, operation: str, *answers: Any) -> None:
        """Answer calls with these, one after the other; the last one stays."""
        assert operation in {one.name for one in OPERATIONS}, operation
        self._answers[operation] = list(answers)

    def refuse(self, operation: str, status: int, code: str, detail: str, **more: Any) -> None:
        """Answer calls with a problem document."""
        title = f"{code}."
        problem = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail}
        self.give(operation, Refusal(problem | {"request_id": "req_1"} | more))

    def called(self, operation: str) -> Call:
        """Return the one call of the operation."""
        [call] = [call for call in self.calls if call.operation == operation]
        return call

    @property
    def names(self) -> list[str]:
        """The operations that were called, in order."""
        return [call.operation for call in self.calls]

    def make_app(self) -> web.Application:
        app = web.Application()
        for operation in OPERATIONS:
            app.router.add_route(operation.method, operation.path, self._handler(operation))
        return app

    def _handler(self, operation: Operation) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            assert request.headers["Authorization"] == f"Bearer {TOKEN}"
            text = await request.text()
            body = json.loads(text) if text else {}
            self.calls.append(Call(operation.name, request.match_info.get("id"), body, dict(request.query)))
            try:
                _judge(operation.body, body)
                _judge(operation.query, dict(request.query))
            except ValidationError as error:
                fault = error.errors()[0]
                name = ".".join(map(str, fault["loc"]))
                return _problem(
                    Refusal({"status": 422, "code": "payload_invalid", "detail": f"`{name}`: {fault['msg']}"})
                )
            return _respond(operation, self._next(operation.name))

        return answer

    def _next(self, name: str) -> Any:
        answers = self._answers.get(name) or [Refusal({"status": 404, "code": "not_found", "detail": "Nothing here."})]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@dataclass(frozen=True)
class Refusal:
    """A problem document."""

    problem: dict[str, Any]


def page(*rows: Any, next_cursor: str | None = None) -> dict[str, Any]:
    """Return a part of a list."""
    return {"data": rows, "next_cursor": next_cursor}


def _judge(model: type[BaseModel] | None, given: dict[str, Any]) -> None:
    if model is not None:
        model.model_validate_json(json.dumps(given)) if not _is_query(model) else model.model_validate(given)
    else:
        assert not given, given


def _is_query(model: type[BaseModel]) -> bool:
    return "limit" in model.model_fields or "format" in model.model_fields


def _respond(operation: Operation, answer: Any) -> web.Response:
    if isinstance(answer, Refusal):
        return _problem(answer)
    if isinstance(answer, bytes):
        return web.Response(body=answer)
    if operation.answer is None:
        return web.Response(status=operation.status)
    valid = operation.answer.model_validate(answer)
    return web.Response(
        text=valid.model_dump_json(by_alias=True), status=operation.status, content_type="application/json"
    )


def _problem(refusal: Refusal) -> web.Response:
    return web.Response(text=json.dumps(refusal.problem), status=refusal.problem["status"], content_type=PROBLEM)


@asynccontextmanager
async def playing() -> AsyncIterator[PlayedApi]:
    """Lend an API that is played."""
    api = PlayedApi()
    async with TestServer(api.make_app()) as server:
        api.url = str(server.make_url("/"))
        yield api
