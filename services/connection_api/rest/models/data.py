"""Answers about rows at destinations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from services.connection_api.rest.models.base import Answer


class LocatedObjectAnswer(Answer):
    """A row of an object, and where it lies."""

    connection_id: str
    connection_name: str
    destination_id: str
    destination_name: str
    db_schema: str = Field(description="The schema at the destination.")
    table: str
    is_deleted: bool = Field(description="Whether the object is deleted in Stripe.")
    synced_at: datetime = Field(description="When the row was written.")
    data: dict[str, Any] | None = Field(description="The object; null where it is larger than 200,000 characters.")


class ObjectAnswer(Answer):
    """Where the rows of an object are."""

    object_id: str
    resource: str | None = Field(description="Of what kind the id is by how it begins; null where that tells nothing.")
    rows: tuple[LocatedObjectAnswer, ...]
