"""What the sync worker reads from the environment."""

from __future__ import annotations

from pydantic import Field

from shared.settings import PublicUrlSettings, SecretSettings, Settings, StripeSettings


class WorkerSettings(Settings, SecretSettings, StripeSettings, PublicUrlSettings):
    """The settings of `sync_worker`."""

    fetchers: int = Field(default=8, ge=1, le=64, description="Slices that one worker fetches at the same time.")
    reconcile_seconds: float = Field(
        default=900.0, gt=0, description="Pause between two comparisons with Stripe's event feed."
    )
    poll_seconds: float = Field(
        default=2.0, gt=0, description="Shortest pause between two polls of the event feed, without a public URL."
    )
    poll_seconds_quiet: float = Field(
        default=60.0, gt=0, description="Longest pause between two polls of the event feed, when nothing happens."
    )
