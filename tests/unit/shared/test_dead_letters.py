"""Dead letters keep the record as it was, where it lay, and why it ended; never a secret."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.dead_letters import MAX_REASON, DeadLetter, dead_letter_of, describe, parse_dead_letter
from shared.errors import DestinationRejectedError, MessageError
from tests.factories import make_message

HEADERS = (("connection", b"con_1"), ("stamp", b"90"))
KEY_OF_STRIPE = "rk_live_" + "a1B2" * 10


def test_letter_survives_its_way_over_kafka() -> None:
    record = make_message(b"\xff\x00", key=b"con_1:cus_1", headers=HEADERS, topic="events", partition=4, offset=17)
    letter = dead_letter_of(record, MessageError("No UTF-8."), stage="parse", destination_id="dst_1")
    sent = make_message(letter.body, key=letter.connection_id.encode(), headers=letter.encode(), topic="dead", offset=1)
    assert parse_dead_letter(sent) == letter
    assert (letter.source_topic, letter.source_partition, letter.source_offset) == ("events", 4, 17)
    assert (letter.code, letter.reason, letter.body, letter.key) == (
        "message_invalid",
        "No UTF-8.",
        b"\xff\x00",
        b"con_1:cus_1",
    )


def test_letter_that_was_never_on_a_topic_is_known_by_its_own_position() -> None:
    letter = DeadLetter("gateway", "not_json", "No JSON.", b"{", "con_1")
    sent = make_message(b"{", key=b"con_1", headers=letter.encode(), topic="dead", partition=0, offset=5)
    found = parse_dead_letter(sent)
    assert replace(found, source_topic="", source_partition=-1, source_offset=-1) == letter
    assert (found.source_topic, found.source_offset) == ("dead", 5)


def test_letter_about_a_letter_keeps_the_headers_of_the_record_alone() -> None:
    first = dead_letter_of(make_message(headers=HEADERS), MessageError(), stage="parse")
    second = dead_letter_of(make_message(headers=first.encode(), topic="dead"), ValueError("x"), stage="dead-letters")
    assert second.headers == HEADERS
    assert (second.code, second.source_topic) == ("bug", "dead")


def test_letter_without_headers_is_still_one() -> None:
    letter = dead_letter_of(make_message(None), MessageError(), stage="parse")
    assert (letter.connection_id, letter.body) == ("", b"")


@pytest.mark.parametrize(
    ("error", "code"),
    [(DestinationRejectedError(), "destination_rejected"), (RecursionError("deep"), "bug"), (KeyError("id"), "bug")],
)
def test_code_says_what_kind_of_end_it_was(error: Exception, code: str) -> None:
    assert describe(error)[0] == code


def test_reason_holds_no_secret_and_is_short() -> None:
    _, reason = describe(ValueError(f"{KEY_OF_STRIPE} is bad {'x' * 2000}"))
    assert KEY_OF_STRIPE not in reason
    assert len(reason) <= MAX_REASON


def test_reason_with_half_a_character_can_be_sent() -> None:
    letter = dead_letter_of(make_message(), ValueError("\ud800"), stage="write")
    assert dict(letter.encode())["dead-letter-reason"]
