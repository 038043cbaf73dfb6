"""Checks that Stripe signed a webhook: a pure function of bytes, header, secrets and time.

https://docs.stripe.com/webhooks/signature

Not `stripe.Webhook.construct_event`: on bytes of a stranger it can raise TypeError, UnicodeDecodeError, AttributeError
or RecursionError, takes one secret, accepts any future time, and costs 200 times as much.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import SecretStr

from shared.errors import SignatureError
from shared.refusals import Cause

TOLERANCE = 300  # seconds, into the past and into the future
MAX_DIGITS = 15  # of the time of signing; more is no time, and int() refuses thousands of them


class UnverifiedError(SignatureError):
    """A signature that does not prove that Stripe sent the webhook; the message says why, for the log alone."""

    def __init__(self, message: str, cause: Cause, skew_seconds: int | None = None) -> None:
        """Take what is wrong, and the time of signing less ours where it can be read."""
        super().__init__(message)
        self.cause = cause
        self.skew_seconds = skew_seconds


@dataclass(frozen=True, slots=True)
class Claim:
    """What the header says: when it was signed, as it was written, and all signatures of the scheme `v1`."""

    signed_at: bytes
    signatures: tuple[bytes, ...]
    skew_seconds: int


class Proof:
    """Whether one of some secrets signed a body, which comes in parts."""

    def __init__(self, claim: Claim, secrets: Iterable[SecretStr]) -> None:
        self._claim = claim
        begin = claim.signed_at + b"."
        self._ours = [hmac.new(s.get_secret_value().encode(), begin, "sha256") for s in secrets if s]

    def feed(self, part: bytes) -> None:
        """Take the next bytes of the body."""
        for ours in self._ours:
            ours.update(part)

    def require(self) -> None:
        """Return if one of the secrets signed the body within five minutes of now; raise `UnverifiedError`."""
        expected = [ours.hexdigest().encode() for ours in self._ours]
        # All pairs are compared, so that the time tells nothing about which one matched.
        matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in self._claim.signatures]
        skew = self._claim.skew_seconds
        if not any(matches):
            message = "No signature matches an active secret of the endpoint."
            raise UnverifiedError(message, Cause.SECRET, skew)
        # Only now is the time known to be of whoever has the secret: a stranger can write any.
        if not -TOLERANCE <= skew <= TOLERANCE:
            raise UnverifiedError(f"The webhook was signed {-skew:+} s ago.", Cause.CLOCK, skew)


def verify(body: bytes, header: bytes | str, secrets: Iterable[SecretStr], now_seconds: float) -> None:
    """Return if one of `secrets` signed `body` within five minutes of `now_seconds`.

    Raises what `read_claim` and `Proof` raise, nothing else.
    """
    proof = Proof(read_claim(header, now_seconds), secrets)
    proof.feed(body)
    proof.require()


def read_claim(header: bytes | str, now_seconds: float) -> Claim:
    """Return what the value of `Stripe-Signature` claims, whatever a stranger put there.

    Raises `UnverifiedError` when it has no time or no signature.
    """
    text = header.encode("utf-8", "replace") if isinstance(header, str) else header
    parts = [part.strip().partition(b"=") for part in text.split(b",")]
    times = [value for name, _, value in parts if name == b"t"]
    if len(times) != 1 or not times[0].isdigit() or len(times[0]) > MAX_DIGITS:
        raise UnverifiedError("The header Stripe-Signature has no time.", Cause.UNSIGNED)
    skew = _bounded(int(times[0]) - now_seconds)
    signatures = tuple(value for name, _, value in parts if name == b"v1")
    if not signatures:
        raise UnverifiedError("The header Stripe-Signature has no signature.", Cause.UNSIGNED, skew)
    return Claim(times[0], signatures, skew)


def _bounded(skew: float) -> int:
    """Return the difference as the state database can keep it, rounded away from zero."""
    whole = math.ceil(skew) if skew > 0 else math.floor(skew)
    return max(-(2**31), min(2**31 - 1, whole))
