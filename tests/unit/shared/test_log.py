"""Nothing that looks like a secret reaches a log line, wherever it stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.log import mask, redact

KEY = "rk_live_51AbCdEfGhIjKlMnOp"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"key {KEY}.", "key rk_live_***."),
        ("sk_test_4eC39HqLyjWDarjtT1zdp7dc", "sk_test_***"),
        ("whsec_abcDEF123/rest", "whsec_***/rest"),
        ("Bearer tst_k5a2", "Bearer tst_***"),
        (f"Bearer tls_{'a2' * 20}", "Bearer tls_***"),
        (f"/sign-in/link_{'a' * 39}", "/sign-in/link_***"),
        ("a link_used is no link", "a link_used is no link"),
        ("postgresql://me:pass@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:p@ss/word@host/db", "postgresql://me:***@host/db"),
        ("postgresql://:pass@host", "postgresql://:***@host"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("rk_live_***4f2a", "rk_live_***4f2a"),
        ("nothing to hide at https://api.stripe.com/v1", "nothing to hide at https://api.stripe.com/v1"),
    ],
)
def test_secrets_are_masked_and_the_rest_stays(text: str, shown: str) -> None:
    assert mask(text) == shown


@pytest.mark.parametrize(
    "value", [KEY, [KEY], (KEY,), {"a": {"b": [KEY]}}, ValueError(KEY), KEY.encode(), SecretStr(KEY)]
)
def test_a_key_is_masked_in_whatever_holds_it(value: object) -> None:
    assert KEY not in repr(redact(None, "info", {"event": "x", "value": value}))


def test_numbers_and_names_stay_as_they_are() -> None:
    line = {"event": "page_fetched", "calls": 3, "share": 0.5, "done": True, "cause": None}
    assert redact(None, "info", dict(line)) == line


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_no_password_of_a_url_is_shown(password: str) -> None:
    assert mask(f"at postgresql://user:{password}@host/db now") == "at postgresql://user:***@host/db now"
