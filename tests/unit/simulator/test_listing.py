from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.listing import Query, select_page
from simulator.store import Table

_SECONDS = st.lists(st.integers(0, 20), max_size=60).map(sorted)


def _table(seconds: list[int]) -> Table:
    table = Table(())
    for number, second in enumerate(seconds):
        table.insert(f"id_{number}", {"id": f"id_{number}", "even": number % 2 == 0}, second)
    return table


def _walk_down(table: Table, limit: int) -> list[str]:
    ids: list[str] = []
    after: str | None = None
    while True:
        page = select_page(table, Query(limit, starting_after=after), matches=None)
        ids += [state["id"] for state in page.states]
        if not page.has_more:
            return ids
        after = ids[-1]


@given(_SECONDS, st.integers(1, 100))
def test_walking_down_gives_every_object_once_and_newest_first(seconds: list[int], limit: int) -> None:
    table = _table(seconds)

    assert _walk_down(table, limit) == table.ids[::-1]


@given(_SECONDS, st.integers(1, 10), st.data())
def test_going_back_up_gives_the_page_that_was_left(seconds: list[int], limit: int, data: st.DataObject) -> None:
    table = _table([*seconds, 21])
    cursor = data.draw(st.sampled_from(table.ids))

    above = select_page(table, Query(limit, ending_before=cursor), matches=None)

    newer = table.ids[table.positions[cursor] + 1 :]
    assert [state["id"] for state in above.states] == newer[:limit][::-1]
    assert above.has_more == (len(newer) > limit)


@given(_SECONDS, st.integers(0, 21), st.integers(0, 21))
def test_created_bounds_include_the_first_second_and_not_the_last(seconds: list[int], low: int, high: int) -> None:
    table = _table(seconds)

    page = select_page(table, Query(100, created_from=low, created_to=high), matches=None)

    assert len(page.states) == sum(low <= second < high for second in seconds)


@given(_SECONDS, st.sets(st.integers(0, 59)))
def test_deleted_objects_are_not_listed_and_do_not_break_the_walk(seconds: list[int], gone: set[int]) -> None:
    table = _table(seconds)
    for number in gone & set(range(len(seconds))):
        table.remove(f"id_{number}")

    assert _walk_down(table, 3) == [one for one in table.ids[::-1] if int(one[3:]) not in gone]


def test_a_filter_that_matches_later_objects_only_still_fills_the_page() -> None:
    page = select_page(_table(list(range(20))), Query(5), matches=lambda state: bool(state["even"]))

    assert [state["id"] for state in page.states] == ["id_18", "id_16", "id_14", "id_12", "id_10"]
    assert page.has_more


def test_an_index_follows_an_object_that_moves() -> None:
    table = Table(("customer",))
    for number in range(3):
        table.insert(f"id_{number}", {"id": f"id_{number}", "customer": "a"}, number)

    table.put("id_1", {"id": "id_1", "customer": "b"})
    table.remove("id_2")

    assert table.indexes["customer"] == {"a": [0], "b": [1]}
