"""Nothing that looks like a secret reaches a log line, wherever it stands."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.log import KINDS_KNOWN, Ration, mask, redact

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


@pytest.mark.parametrize("text", ["\x1b]0;owned\x07", "\x9b31m", "a\nb", "\x7f", "\r"])
@pytest.mark.parametrize("form", [lambda t: t, lambda t: [t], lambda t: {"a": t}, lambda t: {t: 1}, ValueError])
def test_no_control_character_reaches_a_terminal(text: str, form: Callable[[str], object]) -> None:
    line = redact(None, "info", {"event": text, "endpoint": form(text)})
    written = f"{line['event']}{line['endpoint'] if not isinstance(line['endpoint'], dict) else list(line['endpoint'])}"
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in written)


def test_traceback_keeps_its_lines() -> None:
    assert redact(None, "error", {"event": "x", "exception": "a\n\tb\x1b"})["exception"] == "a\n\tb\\x1b"


def test_so_many_lines_of_a_kind_pass_in_a_minute_and_the_next_says_how_many_did_not() -> None:
    now = 0.0
    ration = Ration(3, per_seconds=60, clock=lambda: now)
    assert [ration.take("a") for _ in range(10)] == [0, 0, 0] + [None] * 7
    assert ration.take("b") == 0
    now = 60.0
    assert [ration.take("a") for _ in range(4)] == [7, 0, 0, None]


def test_kinds_that_strangers_make_up_take_no_memory() -> None:
    ration = Ration(3)
    for number in range(10 * KINDS_KNOWN):
        ration.take(str(number))
    assert len(ration._kinds) <= KINDS_KNOWN
