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
    version: str = Field(description="Of what is installed.")


class PublicUrlAnswer(Answer):
    """What came of asking the public URL."""

    public_url: str | None
    is_fine: bool = Field(description="Whether the webhook gateway answers there.")
    sentence: str = Field(description="What happened.")
    fix: str = Field(description="What to do about it; empty if nothing.")
