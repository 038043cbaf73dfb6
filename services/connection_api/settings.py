"""What the API reads from the environment."""

from __future__ import annotations

import ipaddress

from pydantic import Field, SecretStr, field_validator

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
    trusted_proxies: str = Field(
        default="",
        description="Networks of the proxies before the API, such as `10.0.0.0/8,fd00::/8`. What they say of the "
        "browser's address (`X-Forwarded-For`) is believed, from nobody else.",
    )
    api_token: SecretStr | None = Field(
        default=None,
        min_length=SHORTEST_TOKEN,
        description=f"A bearer token with every right, to begin with; at least {SHORTEST_TOKEN} random characters.",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _name_networks(cls, text: str) -> str:
        for part in _parts(text):
            try:
                ipaddress.ip_network(part)
            except ValueError:
                raise ValueError(f"`{part}` is no network: give networks such as 10.0.0.0/8, with commas") from None
        return text

    @property
    def proxy_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The networks of `trusted_proxies`."""
        return tuple(ipaddress.ip_network(part) for part in _parts(self.trusted_proxies))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
