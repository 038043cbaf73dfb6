"""Checks that Stripe signed a webhook: a pure function of bytes, header, secrets and time.

https://docs.stripe.com/webhooks/signature

Not `stripe.Webhook.construct_event`: on bytes of a stranger it can raise TypeError, UnicodeDecodeError, AttributeError
or RecursionError, takes one secret, accepts any future time, and costs 200 times as much.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from pydantic import SecretStr

from shared.errors import SignatureError

TOLERANCE = 300  # seconds, into the past and into the future
MAX_DIGITS = 15  # of the time of signing; more is no time, and int() refuses thousands of them


def verify(body: bytes, header: bytes | str, secrets: Iterable[SecretStr], now_seconds: float) -> None:
    """Return if one of `secrets` signed `body` within five minutes of `now_seconds`.

    `header` is the value of `Stripe-Signature`, whatever a stranger put there. Raises `SignatureError`, nothing else;
    its message says why, for the log and not for the caller.
    """
    signed_at, signatures = _parse(header.encode("utf-8", "replace") if isinstance(header, str) else header)
    age = now_seconds - int(signed_at)
    if not -TOLERANCE <= age <= TOLERANCE:
        raise SignatureError(f"The webhook was signed {age:+.0f} s ago.")
    message = b"%b.%b" % (signed_at, body)
    expected = [_sign(message, secret) for secret in secrets if secret]
    # All pairs are compared, so that the time tells nothing about which one matched.
    matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in signatures]
    if not any(matches):
        raise SignatureError("No signature matches an active secret of the endpoint.")


def _parse(header: bytes) -> tuple[bytes, list[bytes]]:
    """Return the time of signing as it was written, and all signatures of the scheme `v1`."""
    parts = [part.strip().partition(b"=") for part in header.split(b",")]
    times = [value for name, _, value in parts if name == b"t"]
    if len(times) != 1 or not times[0].isdigit() or len(times[0]) > MAX_DIGITS:
        raise SignatureError("The header Stripe-Signature has no time.")
    return times[0], [value for name, _, value in parts if name == b"v1"]


def _sign(message: bytes, secret: SecretStr) -> bytes:
    return hmac.digest(secret.get_secret_value().encode(), message, "sha256").hex().encode()
