"""Nothing that looks like a secret reaches a log line, wherever it stands."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.dead_letters import describe
from shared.log import KINDS_KNOWN, Ration, mask, redact, render_error

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


def refusal() -> asyncpg.PostgresError:
    """Return what Postgres says of a row that breaks a constraint."""
    fields = {
        "S": "ERROR",
        "C": "23514",
        "M": 'new row for relation "dead_letters" violates check "c", value "canary-a"',
        "D": "Failing row contains (1, canary-b\n\ncanary-c).",
        "H": "canary-d",
        "t": "dead_letters",
        "n": "letters_fit",
    }
    error: asyncpg.PostgresError = asyncpg.PostgresError.new(fields)
    return error


def unfit() -> asyncpg.DataError:
    return asyncpg.DataError("invalid input for query argument $1: 'canary-e' (value out of int64 range)")


def test_of_an_error_of_postgres_only_where_it_happened_is_told() -> None:
    try:
        try:
            raise ExceptionGroup("several", [refusal(), unfit()])
        except ExceptionGroup as error:
            raise RuntimeError("The batch failed.") from error
    except RuntimeError as error:
        text = render_error(error)
    assert "canary" not in text
    for told in ("The batch failed.", "in test_of", "CheckViolationError (SQLSTATE 23514, table dead_letters", "fit)"):
        assert told in text
    assert "canary" not in repr(redact(None, "error", {"error": refusal()}))
    assert describe(refusal()) == (
        "bug",
        "CheckViolationError (SQLSTATE 23514, table dead_letters, constraint letters_fit)",
    )


def test_error_that_was_caught_and_let_go_is_told_with_what_it_led_to() -> None:
    try:
        try:
            raise KeyError("id")
        except KeyError:
            raise ValueError("odd")  # noqa: B904 - its context is what is tested
    except ValueError as error:
        text = render_error(error)
    assert text.index("KeyError: 'id'") < text.index("ValueError: odd")
