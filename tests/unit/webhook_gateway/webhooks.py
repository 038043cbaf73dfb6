"""Events, signatures and a gateway without Kafka and Postgres, for the tests of this folder."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from pydantic import SecretStr

from services.webhook_gateway.settings import GatewaySettings
from shared.crypto import make_encryption_key
from shared.endpoint_secrets import Endpoint

NOW = 1_790_000_000.0  # seconds
SECRET = "whsec_0123456789abcdef"
ENDPOINT = Endpoint(id="we_1", connection_id="con_1", livemode=True, account_id="acct_1", secrets=(SecretStr(SECRET),))
URL = f"/webhooks/stripe/{ENDPOINT.id}"


def make_event(**fields: Any) -> dict[str, Any]:
    """Return an event of the connection's account; `fields` replace."""
    event = {
        "id": "evt_1",
        "object": "event",
        "type": "customer.updated",
        "created": int(NOW),
        "livemode": True,
        "api_version": "2026-10-28.endive",
        "data": {"object": {"id": "cus_1", "object": "customer", "name": "Ada"}},
    }
    return event | fields


def make_body(**fields: Any) -> bytes:
    """Return the bytes of an event."""
    return json.dumps(make_event(**fields), indent=2).encode()


def sign(body: bytes, secret: str = SECRET, at: float = NOW) -> str:
    """Return one `v1` signature in hex."""
    return hmac.new(secret.encode(), f"{int(at)}.".encode() + body, hashlib.sha256).hexdigest()


def header(body: bytes, secret: str = SECRET, at: float = NOW) -> str:
    """Return the value of `Stripe-Signature`."""
    return f"t={int(at)},v1={sign(body, secret, at)}"


def make_settings(**fields: Any) -> GatewaySettings:
    """Return settings whose addresses nobody listens at."""
    values = {
        "database_url": "postgresql://nobody@127.0.0.1:1/none",
        "kafka_bootstrap_servers": "127.0.0.1:1",
        "encryption_keys": make_encryption_key("test"),
    }
    return GatewaySettings.model_validate(values | fields)
