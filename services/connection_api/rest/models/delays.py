"""Answers about work that is tried again."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from services.connection_api.rest.models.base import Answer
from shared.delays import Work


class DelayAnswer(Answer):
    """Work that is tried again until it succeeds."""

    work: Work
    code: str
    cause: str
    fix: str | None = Field(description="What a person does about it; null where it goes on by itself.")
    since: datetime
    attempts: int
    next_try_at: datetime
    connection_id: str | None
    destination_id: str | None
    sync_id: str | None
