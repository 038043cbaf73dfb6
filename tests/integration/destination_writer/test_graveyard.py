"""Dead letters in the state database: by cause, counted, and no longer than they are of use."""

from __future__ import annotations

import time

import pytest

from services.destination_writer.graveyard import Graveyard
from shared.dead_letters import DeadLetter
from tests.integration.destination_writer.state import State

GROUPS = "SELECT code, resource, summary, letters FROM dead_letter_groups ORDER BY letters DESC, summary"
REFUSED = "column amount is of type integer but expression is of type text"


@pytest.fixture
async def graveyard(state: State) -> Graveyard:
    for name in ("con_1", "con_2"):
        await state.add_connection(name, await state.add_destination(name))
    return Graveyard(state.pool)


def letter(offset: int, reason: str = REFUSED, *, connection_id: str = "con_1", resource: str = "charge") -> DeadLetter:
    return DeadLetter(
        "write",
        "destination_rejected",
        reason,
        b'{"id":"ch_1"}',
        connection_id,
        "dst_1",
        "snapshots",
        0,
        offset,
        f"{connection_id}:ch_{offset}".encode(),
        (("connection", connection_id.encode()), ("resource", resource.encode())),
    )


async def test_letters_of_one_cause_are_one_group(graveyard: Graveyard, state: State) -> None:
    await graveyard.keep([letter(n) for n in range(7)])
    await graveyard.keep([letter(7, connection_id="con_2"), letter(8, resource="invoice"), letter(9, "Another.")])
    assert await state.rows(GROUPS) == [
        ("destination_rejected", "charge", REFUSED, 7),
        ("destination_rejected", "charge", "Another.", 1),
        ("destination_rejected", "charge", REFUSED, 1),
        ("destination_rejected", "invoice", REFUSED, 1),
    ]
    assert await state.rows("SELECT resource, object_id FROM dead_letters WHERE record_offset = 3") == [
        ("charge", "ch_3")
    ]


@pytest.mark.parametrize(
    ("reasons", "summary"),
    [
        (("byte 12 can't be read.", "byte 7 can't be read."), "byte … can't be read."),
        (("KeyError: 'ch_1a'", "KeyError: 'x y'"), "KeyError: …"),
        (("The object in_1Qx is odd.", "The object cus_9 is odd."), "The object … is odd."),
        (("1.5 is no moment", "7 is no moment"), "… is no moment"),
        (("too large (SQLSTATE 22003)",), "too large (SQLSTATE 22003)"),
        (("The resource tax.rate is unknown",), "The resource tax.rate is unknown"),
    ],
)
async def test_variable_parts_of_a_reason_tell_no_causes_apart(
    graveyard: Graveyard, state: State, reasons: tuple[str, ...], summary: str
) -> None:
    await graveyard.keep([letter(n, reason) for n, reason in enumerate(reasons)])
    assert await state.rows("SELECT summary, letters FROM dead_letter_groups") == [(summary, len(reasons))]


async def test_group_follows_what_becomes_of_its_letters(graveyard: Graveyard, state: State) -> None:
    await graveyard.keep([letter(n) for n in range(4)])
    await graveyard.keep([letter(0, "Another."), letter(1)])  # both came again, one with another reason
    assert [row[2:] for row in await state.rows(GROUPS)] == [(REFUSED, 3), ("Another.", 1)]
    await state.pool.execute("DELETE FROM dead_letters WHERE record_offset IN (0, 1)")
    assert [row[2:] for row in await state.rows(GROUPS)] == [(REFUSED, 2)]
    await state.pool.execute("DELETE FROM dead_letters")
    assert await state.rows(GROUPS) == []


async def test_letters_go_after_35_days_and_beyond_the_cap_the_oldest_first(graveyard: Graveyard, state: State) -> None:
    await graveyard.keep([letter(n) for n in range(10)])
    await state.pool.execute(
        "UPDATE dead_letters SET first_seen_at = now() - interval '36 days' WHERE record_offset = 5"
    )
    await graveyard.sweep(most=3)
    assert await state.rows("SELECT record_offset FROM dead_letters ORDER BY 1") == [(7,), (8,), (9,)]
    assert await state.value("SELECT letters FROM dead_letter_groups") == 3


async def test_first_pages_of_a_hundred_thousand_letters_come_at_once(graveyard: Graveyard, state: State) -> None:
    await state.pool.execute(
        """
        INSERT INTO dead_letters (stage, code, reason, connection_id, destination_id, topic, partition, record_offset,
                                  resource, body)
        SELECT 'write', 'destination_rejected', 'Cause ' || chr(97 + n % 20), 'con_1', 'dst_1', 't', 0, n, 'charge',
               convert_to(repeat('x', 500), 'UTF8')
        FROM generate_series(1, 100000) n
        """
    )
    await state.pool.execute("ANALYZE dead_letters")
    for sql in (
        "SELECT * FROM dead_letter_groups ORDER BY last_seen_at DESC, id DESC LIMIT 26",
        "SELECT * FROM dead_letters ORDER BY id DESC LIMIT 26",
        "SELECT * FROM dead_letters WHERE code = 'bug' ORDER BY id DESC LIMIT 26",
        "SELECT * FROM dead_letters WHERE group_id = (SELECT min(id) FROM dead_letter_groups)"
        " ORDER BY id DESC LIMIT 26",
    ):
        started = time.perf_counter()
        await state.pool.fetch(sql)
        assert time.perf_counter() - started < 0.1, sql


async def test_letter_with_values_beyond_every_bound_is_kept_cut(graveyard: Graveyard, state: State) -> None:
    odd = DeadLetter(
        "p" * 5000,
        "c" * 5000,
        "r\0" * 5000,
        b"{",
        "con_1",
        "d" * 5000,
        "t" * 5000,
        0,
        1,
        b"con_1:" + b"i" * 300_000,
        (("connection", b"con_1"), ("resource", b"x" * 300_000), *((f"h{n}", b"y" * 5000) for n in range(100))),
    )
    await graveyard.keep([odd, letter(2)])
    assert await state.value("SELECT count(*) FROM dead_letters") == 2
    assert await state.value("SELECT max(length(d::text)) FROM dead_letters d") < 20_000
    assert await state.value("SELECT max(length(object_id)) FROM dead_letters") == 255
