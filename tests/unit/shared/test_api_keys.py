"""A text that is no usable key is refused with its reason and the fix, before any call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.api_keys import parse_api_key
from shared.errors import KeyRefusedError

REST = "51AbCdEfGhIjKlMnOpQrStUvWx4f2a"
LIVE, TEST = f"rk_live_{REST}", f"rk_test_{REST}"


@pytest.mark.parametrize("text", [LIVE, f"  {LIVE}\n", f'"{LIVE}"', f"' {LIVE} '", f"\u00a0{LIVE}\u00a0"])
def test_a_key_that_was_pasted_with_something_around_it_is_trimmed(text: str) -> None:
    assert parse_api_key(text, allow_test=False).secret.get_secret_value() == LIVE


def test_the_mode_is_told_from_the_key() -> None:
    assert parse_api_key(LIVE, allow_test=True).livemode
    assert not parse_api_key(TEST, allow_test=True).livemode


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "There is no key"),
        ("   ", "There is no key"),
        (f"sk_live_{REST}", "secret key"),
        (f"sk_test_{REST}", "secret key"),
        (f"pk_live_{REST}", "publishable key"),
        (f"whsec_{REST}", "start with rk_live_"),
        (REST, "start with rk_live_"),
        (f"RK_LIVE_{REST}", "start with rk_live_"),
        (f"rk_live_{REST[:12]} {REST[12:]}", "spaces or was shortened"),
        (f"rk_live_{REST[:12]}\n{REST[12:]}", "spaces or was shortened"),
        ("rk_live_51Ab…4f2a", "spaces or was shortened"),
        ("rk_live_***********4f2a", "spaces or was shortened"),
        ("rk_live_51Ab...4f2a", "spaces or was shortened"),
        (f"rk_live_{REST}-x", "characters that no Stripe key has"),
        (f"rk_live_{REST}é", "characters that no Stripe key has"),
        ("rk_live_51Ab", "too short"),
        ("rk_live_", "too short"),
        (TEST, "test mode key"),
        (f"rk_live_{REST}_x", "invalid"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    with pytest.raises(KeyRefusedError, match=reason) as caught:
        parse_api_key(text, allow_test=False)
    assert caught.value.field == "api_key"


@given(st.text())
def test_any_other_text_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(KeyRefusedError) as caught:
        parse_api_key(text, allow_test=True)
    assert len(text) < 12 or text not in caught.value.message


def test_a_key_shows_its_kind_and_its_last_four_characters() -> None:
    key = parse_api_key(LIVE, allow_test=False)
    assert key.hint == "rk_live_…4f2a"
    assert REST not in repr(key)
