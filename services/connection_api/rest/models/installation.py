"""Bodies and answers about the whole installation."""

from __future__ import annotations

from pydantic import Field

from services.connection_api.rest.models.base import Answer, Input
from shared.zones import LONGEST_ZONE


class NewInstallationSettings(Input):
    """What is to hold for the whole installation."""

    time_zone: str | None = Field(
        max_length=LONGEST_ZONE,
        description="The zone in which the dashboard shows times and days, such as `Europe/Berlin`; null for each "
        "browser's own.",
    )


class InstallationSettings(Answer):
    """What holds for the whole installation."""

    time_zone: str | None
