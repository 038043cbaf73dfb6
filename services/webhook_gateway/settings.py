"""What the gateway reads from the environment."""

from __future__ import annotations

from shared.settings import SecretSettings, Settings


class GatewaySettings(Settings, SecretSettings):
    """The settings of `webhook_gateway`."""
