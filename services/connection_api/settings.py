"""What the API reads from the environment."""

from __future__ import annotations

from pydantic import Field, SecretStr

from shared.settings import (
    DestinationSettings,
    PaceSettings,
    PublicUrlSettings,
    SecretSettings,
    Settings,
    StripeSettings,
)

SHORTEST_TOKEN = 20  # characters


class ApiSettings(Settings, SecretSettings, DestinationSettings, StripeSettings, PublicUrlSettings, PaceSettings):
    """The settings of `connection_api`."""

    allow_test_keys: bool = Field(
        default=False, description="Whether keys of Stripe's test mode (`rk_test_…`) may be connected."
    )
    api_token: SecretStr | None = Field(
        default=None,
        min_length=SHORTEST_TOKEN,
        description=f"A bearer token with every right, to begin with; at least {SHORTEST_TOKEN} random characters.",
    )
