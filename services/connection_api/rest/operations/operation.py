"""One thing that a caller can ask for."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

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
    also_answers: tuple[str, ...] = ()  # content types besides JSON
    shows_secret: bool = False  # then its answer is never stored, and it takes no `Idempotency-Key`
    refusals: tuple[int, ...] = ()  # besides what its access, body, query and path bring by themselves
