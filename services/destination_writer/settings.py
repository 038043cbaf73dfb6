"""What the writer reads from the environment."""

from __future__ import annotations

from pydantic import Field

from shared.settings import DestinationSettings, SecretSettings, Settings


class WriterSettings(Settings, SecretSettings, DestinationSettings):
    """The settings of `destination_writer`."""

    write_deadline_seconds: float = Field(
        default=0.5,
        gt=0,
        le=60,
        description="Longest wait for a destination to take a batch of live events, before they are parked.",
    )
    parked_records_cap: int = Field(
        default=100_000,
        ge=1,
        description="Most records that wait for one destination; what exceeds it is read from Stripe again later.",
    )
