"""What the sync worker reads from the environment."""

from __future__ import annotations

from pydantic import Field

from shared.settings import PaceSettings, PublicUrlSettings, SecretSettings, Settings, StripeSettings


class WorkerSettings(Settings, SecretSettings, StripeSettings, PublicUrlSettings, PaceSettings):
    """The settings of `sync_worker`."""

    fetchers: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Slices that one worker fetches at a time; two more do only what heals missed webhooks.",
    )
