"""Bodies and answers about comparisons of the rows with what Stripe has."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from services.connection_api.rest.models.base import Answer, Input, ResourceName
from shared.verify_schedules import MOST_PAGES, HowOften, VerifySchedule
from shared.zones import LONGEST_ZONE


class NewComparison(Input):
    """What is to be compared; nothing chosen compares a sample of all that is synced."""

    full: bool = Field(
        default=False,
        description="Read every page, and look for rows that Stripe does not have; else a few of each list.",
    )
    resources: tuple[ResourceName, ...] | None = Field(
        default=None, min_length=1, max_length=100, description="Compare these only."
    )


class NewVerifySchedule(Input):
    """When a connection is compared by itself, and how much a run reads."""

    how_often: Literal["never", "daily", "weekly"] = Field(description="Weekly means on Sundays.")
    hour: int = Field(default=2, ge=0, le=23, description="Hour of the day in `zone`.")
    zone: str = Field(default="UTC", min_length=1, max_length=LONGEST_ZONE, description="Such as Europe/Berlin.")
    pages: int = Field(default=2, ge=1, le=MOST_PAGES, description="The budget: pages that a run reads of each list.")

    @property
    def schedule(self) -> VerifySchedule:
        """The schedule that is asked for; when it runs next follows."""
        return VerifySchedule(HowOften(self.how_often), self.hour, self.zone, self.pages)


class VerifyRunAnswer(Answer):
    """A comparison that has come to its end; rows count at each destination."""

    sync_id: str
    finished_at: datetime
    compared: int
    differences: int
    skipped: int = Field(description="Rows that could not be compared: the destination did not answer.")


class VerifyScheduleAnswer(Answer):
    """When a connection is compared by itself, what a run costs, and what the last ones have found."""

    how_often: Literal["never", "daily", "weekly"]
    hour: int
    zone: str
    pages: int
    calls: int = Field(description="Calls to Stripe that a run makes at most.")
    next_run_at: datetime | None = Field(description="A run that is due waits while the connection is not active.")
    last_run: VerifyRunAnswer | None = Field(description="The last comparison, whoever began it.")
    runs: tuple[VerifyRunAnswer, ...] = Field(description="The last 30 that the schedule began, newest first.")


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
