"""What counts as signed by Stripe."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from services.webhook_gateway.signature import TOLERANCE, UnverifiedError, verify
from shared.errors import SignatureError
from shared.refusals import Cause
from tests.unit.webhook_gateway.webhooks import NOW, SECRET, header, make_body, sign

SECRETS = (SecretStr(SECRET),)
BODY = make_body()
T = int(NOW)


def test_signature_of_stripe_is_accepted() -> None:
    verify(BODY, header(BODY), SECRETS, NOW)
    verify(BODY, header(BODY).encode(), SECRETS, NOW)


def test_signature_made_by_stripes_own_library_is_accepted() -> None:
    from stripe import WebhookSignature

    made = WebhookSignature._compute_signature(f"{T}.{BODY.decode()}", SECRET)
    verify(BODY, f"t={T},v1={made},v0=ignored", SECRETS, NOW)


@pytest.mark.parametrize("secret", ["whsec_old", "whsec_new"])
def test_every_active_secret_is_tried(secret: str) -> None:
    verify(BODY, header(BODY, secret), (SecretStr("whsec_old"), SecretStr("whsec_new")), NOW)


def test_every_signature_of_a_roll_is_tried() -> None:
    verify(BODY, f"t={T},v1={sign(BODY, 'whsec_old')},v1={sign(BODY)}", SECRETS, NOW)


@pytest.mark.parametrize("age", [TOLERANCE, -TOLERANCE])
def test_stamp_at_the_edge_of_the_tolerance_is_accepted(age: int) -> None:
    verify(BODY, header(BODY, at=NOW - age), SECRETS, NOW)


@pytest.mark.parametrize("age", [TOLERANCE + 1, -TOLERANCE - 1, 86_400, -86_400])
def test_old_and_future_stamps_are_refused(age: int) -> None:
    with pytest.raises(UnverifiedError, match="ago") as refused:
        verify(BODY, header(BODY, at=NOW - age), SECRETS, NOW)
    assert (refused.value.cause, refused.value.skew_seconds) == (Cause.CLOCK, -age)


@pytest.mark.parametrize("age", [TOLERANCE + 1, -TOLERANCE - 1, 86_400, -86_400])
def test_old_stamp_that_no_secret_of_ours_signed_is_no_sign_of_the_clock(age: int) -> None:
    with pytest.raises(UnverifiedError) as refused:
        verify(BODY, header(BODY, "whsec_other", at=NOW - age), SECRETS, NOW)
    assert refused.value.cause is Cause.SECRET


@pytest.mark.parametrize(
    "value",
    [
        "",
        "t",
        "=,=,=",
        f"t={T}",
        f"v1={sign(BODY)}",
        f"t={T},v0={sign(BODY)}",
        f"t={T},v1=",
        f"t={T},v1={sign(BODY)[:-1]}",
        f"t={T},v1={sign(BODY)}0",
        f"t={T},v1={sign(BODY, 'whsec_other')}",
        f"t={T + 1},v1={sign(BODY)}",
        f"t={T},t={T},v1={sign(BODY)}",
        f"t=+{T},v1={sign(BODY)}",
        f"t={T}.0,v1={sign(BODY)}",
        f"t=,v1={sign(BODY)}",
        f"t={'9' * 5000},v1={sign(BODY)}",
        f"t=nan,v1={sign(BODY)}",
        f"t=-{T},v1={sign(BODY)}",
        f"t={T},v1={'é' * 64}",
        f"t={T},v1=\udcff\udcfe",
        f"t={T},v1=\ud800",
        f"t={''.join(chr(0xFF10 + int(digit)) for digit in str(T))},v1={sign(BODY)}",
    ],
)
def test_header_that_proves_nothing_is_refused(value: str) -> None:
    with pytest.raises(SignatureError):
        verify(BODY, value, SECRETS, NOW)


def test_endpoint_without_a_secret_accepts_nothing() -> None:
    with pytest.raises(SignatureError):
        verify(BODY, header(BODY), (), NOW)
    with pytest.raises(SignatureError):
        verify(BODY, header(BODY, ""), (SecretStr(""),), NOW)


@pytest.mark.parametrize("changed", [BODY + b" ", BODY[:-1], BODY.replace(b"Ada", b"Eva"), b""])
def test_signature_covers_every_byte(changed: bytes) -> None:
    with pytest.raises(SignatureError):
        verify(changed, header(BODY), SECRETS, NOW)


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b"null", b"[" * 100_000])
def test_bytes_are_verified_whatever_they_hold(body: bytes) -> None:
    verify(body, f"t={T},v1={sign(body)}", SECRETS, NOW)


pieces = st.sampled_from(["t=", "v1=", "v0=", ",", "=", str(T), sign(BODY), " ", "\x00", "é", "\ud800"])


@given(
    body=st.binary(max_size=200),
    value=st.one_of(st.binary(), st.text(), st.lists(pieces | st.text(max_size=3)).map("".join)),
)
def test_no_header_raises_anything_but_a_signature_error(body: bytes, value: bytes | str) -> None:
    with suppress(SignatureError):
        verify(body, value, SECRETS, NOW)
        pytest.fail("a forgery was accepted")
