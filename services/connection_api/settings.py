"""What the API reads from the environment."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from pydantic import Field, SecretStr, field_validator

from services.connection_api.mail_server import MailServer, parse_smtp_url
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

    dashboard_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s?#]+(/[^\s?#]*)?$",
        description="Where people reach the dashboard, such as `https://tillstream.example.com`. Alarms link to it.",
    )
    smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server that sends alarms: `smtp://user:password@host:587` (STARTTLS where the server offers "
        "it; required with a password) or `smtps://user:password@host:465`. Characters such as `@` are "
        "percent-encoded.",
    )
    smtp_from: str | None = Field(
        default=None,
        pattern=r"^[^@\s<>,;]+@[^@\s<>,;]+$",
        max_length=320,
        description="Address that alarms by e-mail come from, such as `tillstream@example.com`.",
    )

    @field_validator("smtp_url")
    @classmethod
    def _is_a_mail_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            parse_smtp_url(url)
        return url

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
    def mail(self) -> MailServer | None:
        """The server that sends alarms, where both it and the address that they come from are set."""
        if self.smtp_url is None or self.smtp_from is None:
            return None
        return replace(parse_smtp_url(self.smtp_url), sender=self.smtp_from)

    @property
    def proxy_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The networks of `trusted_proxies`."""
        return tuple(ipaddress.ip_network(part) for part in _parts(self.trusted_proxies))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
