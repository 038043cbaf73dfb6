"""Files of questions: what is wrong in one is found when the service starts, and the page has them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.connection_api.questions.ask_page import render_page
from services.connection_api.questions.question import FOLDER, NAMES, Whose, load_all, parse

HEAD = "-- title: T\n-- sentence: S.\n-- needs: charge\n-- columns: id text\n"
GOOD = HEAD + "SELECT c.id FROM {charges} AS c WHERE {ours c}"
PAGE = Path(__file__).parents[3] / "docs" / "ask.md"


def test_every_file_is_a_question_and_every_question_a_file() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in FOLDER.glob("*.sql"))
    assert list(load_all()) == list(NAMES)


def test_sentences_are_short() -> None:
    for question in load_all().values():
        for sentence in question.sentence.rstrip(".").split(". "):
            assert len(sentence.split()) <= 14, sentence


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (GOOD.replace("-- sentence: S.\n", ""), "no sentence"),
        (GOOD.replace("needs: charge", "needs: chargee"), "that there are not"),
        (GOOD.replace("{charges} AS c", "{invoices} AS c"), "don't tell"),
        (GOOD.replace("{charges} AS c", "{charges} c"), "without an alias"),
        (GOOD.replace("WHERE {ours c}", ""), "narrow"),
        (GOOD.replace("{ours c}", "{ours d}"), "narrow"),
        (GOOD.replace("id text", "id words"), "words"),
    ],
)
def test_file_that_would_mislead_is_refused(wrong: str, why: str) -> None:
    parse("good", GOOD)
    with pytest.raises(ValueError, match=why):
        parse("wrong", wrong)


@pytest.mark.parametrize("text", ["acct_1'; DROP TABLE x", "acct\\", "", "a b"])
def test_what_is_no_account_and_no_zone_never_gets_into_a_statement(text: str) -> None:
    question = load_all()["revenue_by_day"]
    for whose in (Whose("s", text, True), Whose("s", "acct_1", True, text)):
        with pytest.raises(ValueError, match="no account and no zone"):
            question.sql(whose)


def test_mode_and_schema_are_part_of_the_statement() -> None:
    sql = parse("good", GOOD).sql(Whose('a"b', "acct_1", False))
    assert sql.endswith(
        """FROM "a""b"."charges" AS c WHERE c._account = 'acct_1' AND NOT c._livemode AND NOT c._deleted"""
    )


def test_page_of_the_questions_is_what_the_files_say() -> None:
    assert PAGE.read_text("utf-8") == render_page(load_all().values())
