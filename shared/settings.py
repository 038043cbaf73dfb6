"""Settings groups that the services compose; read from `TILLSTREAM_…` variables, never at import.

`load` reports every problem at once, by the variable's name.
`docs/configuration.md` is generated from the descriptions here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from shared.addresses import check_address
from shared.crypto import KeyRing, parse_key_ring
from shared.errors import ConfigError
from shared.networks import Networks, parse_networks

PREFIX = "TILLSTREAM_"
S = TypeVar("S", bound="Settings")
SERVERS = r"^\s*[^\s,]+(\s*,\s*[^\s,]+)*\s*,?\s*$"  # names or addresses, separated by commas
Rate = Annotated[float, Field(gt=0, le=1)]


class Settings(BaseModel):
    """What every service needs: where state is, where Kafka is, and how to talk about itself."""

    # Without `hide_input_in_errors` a traceback would show the secrets that were given.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: SecretStr = Field(description="Postgres that holds Tillstream's own state, as a URL.")
    kafka_bootstrap_servers: str = Field(
        pattern=SERVERS,
        description="Kafka brokers, `host:port`, separated by commas. One that answers is enough to find the others.",
    )
    topic_prefix: str = Field(
        default="tillstream",
        pattern=r"^[a-zA-Z0-9_.-]{1,100}$",
        description="First part of every topic's and consumer group's name.",
    )
    topic_partitions: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="Partitions of each topic but `dead-letters`, which has one, when they are made.",
    )
    topic_replication: int = Field(default=1, ge=1, le=10, description="Replicas of each topic when they are made.")
    host: str = Field(default="127.0.0.1", description="Address that the service listens on.")
    port: int = Field(default=0, ge=0, le=65535, description="Port that the service listens on; 0 takes a free one.")
    probe_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of its own for `/livez`, `/readyz` and `/metrics`, for a service that strangers reach; "
        "without it they are at the other port.",
    )
    instance: str | None = Field(
        default=None,
        pattern=r"^[a-zA-Z0-9_.-]{1,100}$",
        description="Name of this process in its consumer groups, unique in its service. One that restarts under its "
        "old name takes its partitions back at once.",
    )
    address_file: str | None = Field(
        default=None, description="File into which the service writes its address, as JSON, once it listens."
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least level that is logged."
    )
    log_format: str = Field(default="json", pattern="^(json|console)$", description="`json`, or `console` for people.")

    @field_validator("database_url")
    @classmethod
    def _is_an_address(cls, url: SecretStr) -> SecretStr:
        check_address(url.get_secret_value())
        return url

    @property
    def kafka_servers(self) -> list[str]:
        """The brokers, `host:port` each."""
        return [server.strip() for server in self.kafka_bootstrap_servers.split(",") if server.strip()]


class SecretSettings(BaseModel):
    """The keys under which Stripe keys, signing secrets and passwords lie encrypted."""

    encryption_keys: SecretStr = Field(
        description="AES-256 keys as `id:base64`, separated by commas. The first encrypts; all of them decrypt."
    )

    @property
    def key_ring(self) -> KeyRing:
        """The parsed keys."""
        return parse_key_ring(self.encryption_keys.get_secret_value())


class DestinationSettings(BaseModel):
    """Where destinations may be."""

    destination_networks: str = Field(
        default="",
        description="Networks in which destinations may lie, such as `10.0.0.0/8,!10.1.0.0/16`: separated by commas, "
        "`!` before one that is refused; the narrowest decides. Unset, any may but link-local ones and those where "
        "clouds keep a machine's secrets. Give it to `connection_api` and `destination_writer`.",
    )

    @field_validator("destination_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        parse_networks(text)
        return text

    @property
    def networks(self) -> Networks:
        """The parsed networks."""
        return parse_networks(self.destination_networks)


class StripeSettings(BaseModel):
    """How Stripe is called."""

    stripe_api_base: str = Field(
        default="https://api.stripe.com",
        description="Base address of Stripe's API; the demo names the simulator.",
    )
    stripe_budget_share: Rate = Field(
        default=0.5,
        description="Share of Stripe's rate limits that Tillstream may use; the rest is the merchant's.",
    )
    stripe_timeout_seconds: float = Field(default=30.0, gt=0, description="Longest wait for one answer of Stripe.")


class PublicUrlSettings(BaseModel):
    """Where the webhook gateway is reached."""

    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s?#]+(/[^\s?#]*)?$",
        description="Where Stripe reaches the webhook gateway, such as `https://hooks.example.com`. Without it, "
        "changes are found by polling.",
    )


class PaceSettings(BaseModel):
    """How often Stripe is asked without being told to."""

    reconcile_seconds: float = Field(
        default=900.0, gt=0, description="Pause between two comparisons with Stripe's event feed."
    )
    poll_seconds: float = Field(
        default=2.0, gt=0, description="Shortest pause between two polls of the event feed, without a public URL."
    )
    poll_seconds_quiet: float = Field(
        default=60.0, gt=0, description="Longest pause between two polls of the event feed, when nothing happens."
    )


def load(model: type[S], environ: Mapping[str, str]) -> S:
    """Build `model` from `environ`.

    Raises `ConfigError` that names every variable that is missing or wrong, and why.
    """
    values: dict[str, Any] = {
        name: environ[PREFIX + name.upper()]
        for name in model.model_fields
        if environ.get(PREFIX + name.upper(), "") != ""
    }
    try:
        settings = model.model_validate(values)
        if isinstance(settings, SecretSettings):
            _ = settings.key_ring
    except ValidationError as error:
        problems = "; ".join(
            f"{PREFIX}{str(e['loc'][0]).upper()} {_fault(e['type'], e['msg'])}" for e in error.errors()
        )
        raise ConfigError(f"{problems}. docs/configuration.md lists every setting.") from error
    return settings


def _fault(kind: str, message: str) -> str:
    return "is not set" if kind == "missing" else f"is wrong: {message.removeprefix('Value error, ').removesuffix('.')}"
