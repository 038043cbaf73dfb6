"""What the API reads from the environment."""

from __future__ import annotations

from pydantic import Field, SecretStr

from shared.settings import SecretSettings, Settings, StripeSettings

SHORTEST_TOKEN = 20  # characters


class ApiSettings(Settings, SecretSettings, StripeSettings):
    """The settings of `connection_api`."""

    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s?#]+(/[^\s?#]*)?$",
        description="Where Stripe reaches the webhook gateway, such as `https://hooks.example.com`. Without it, "
        "changes are found by polling.",
    )
    allow_test_keys: bool = Field(
        default=False, description="Whether keys of Stripe's test mode (`rk_test_…`) may be connected."
    )
    api_token: SecretStr | None = Field(
        default=None,
        min_length=SHORTEST_TOKEN,
        description=f"A bearer token with every right, to begin with; at least {SHORTEST_TOKEN} random characters.",
    )
