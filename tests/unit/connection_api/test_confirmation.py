"""A name that confirms what can't be undone counts as it is seen."""

from __future__ import annotations

import pytest

from services.connection_api.life.confirmation import as_seen, is_confirmed, names_to_type


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Acme ", "Acme"),
        ("\tAcme\u00a0\u2003 Inc\n", "Acme Inc"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("A\u200bcme\u200f", "Acme"),
        ("\u00a0 \u200b", ""),
    ],
)
def test_name_is_taken_as_a_page_shows_it(text: str, seen: str) -> None:
    assert as_seen(text) == seen


def test_id_confirms_too_and_is_asked_for_where_the_name_is_blank() -> None:
    assert names_to_type("Acme → here ", "con_1") == ["Acme → here", "con_1"]
    assert names_to_type(" ", "con_1") == ["con_1"]


def test_account_confirms_where_it_is_given() -> None:
    assert names_to_type("Acme", "con_1", ("Acme", "acct_1")) == ["Acme", "con_1", "acct_1"]
    assert names_to_type("Acme → here", "con_1", (" ", "acct_1")) == ["Acme → here", "con_1", "acct_1"]


@pytest.mark.parametrize("typed", ["", " ", "acme", "Acm", "acct_2"])
def test_what_is_not_the_name_confirms_nothing(typed: str) -> None:
    assert not is_confirmed(typed, names_to_type("Acme", "acct_1"))
    assert not is_confirmed(typed, names_to_type(" ", "acct_1"))
