"""Bodies and answers about comparisons of the rows with what Stripe has."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from services.connection_api.rest.models.base import Answer, Input, ResourceName


class NewComparison(Input):
    """What is to be compared; nothing chosen compares a sample of all that is synced."""

    full: bool = Field(
        default=False,
        description="Read every page, and look for rows that Stripe does not have; else a few of each list.",
    )
    resources: tuple[ResourceName, ...] | None = Field(
        default=None, min_length=1, max_length=100, description="Compare these only."
    )


class ComparisonAnswer(Answer):
    """How the rows of one resource at one destination compare with what Stripe has."""

    resource: str
    destination_id: str
    compared: int
    equal: int
    newer: int = Field(description="An event had come since Stripe was asked.")
    different: int
    missing: int = Field(description="Stripe has it, and there is no live row.")
    extra: int = Field(
        description="There is a live row, and Stripe does not have it. Only a full comparison finds them."
    )
    skipped: int = Field(description="The destination did not answer.")


class DifferenceAnswer(Answer):
    """A row that is not what Stripe has."""

    resource: str
    object_id: str
    destination_id: str
    kind: Literal["different", "missing", "extra"]
    fields: tuple[str, ...] = Field(description="Where the two differ, as dotted paths. Values are not kept.")
    repaired_at: datetime | None = Field(description="When it was asked that this be put right.")
    is_waiting: bool = Field(description="Whether a record of it waits for the destination: it may be right soon.")


class RepairAnswer(Answer):
    """What a repair does."""

    objects: int = Field(description="Objects that Stripe is asked for.")
