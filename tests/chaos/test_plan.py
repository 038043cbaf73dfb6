"""What goes wrong in a run follows from its seed."""

from __future__ import annotations

from collections import Counter

from tests.chaos.crashes import POINTS
from tests.chaos.mutations import MUTATIONS
from tests.chaos.plan import EDGE, LONG_PAUSE, PAUSED, VICTIMS, make_plan
from tests.infrastructure import REPOSITORY

LARGE = make_plan(1, events=100_000, kills=120)


def test_a_seed_gives_the_same_plan_and_another_seed_another() -> None:
    assert make_plan(7, events=1500, kills=6) == make_plan(7, events=1500, kills=6)
    assert make_plan(7, events=1500, kills=6) != make_plan(8, events=1500, kills=6)


def test_every_victim_is_killed_as_often_as_the_others() -> None:
    assert LARGE.kills == 120
    assert Counter(one.victim for one in LARGE.faults if not one.pause_seconds) == dict.fromkeys(VICTIMS, 20)


def test_every_crash_point_comes_up() -> None:
    reached = {(one.victim, one.point) for one in LARGE.faults if one.point}
    assert reached == {(service, point) for service, points in POINTS.items() for point in points}


def test_worker_and_writer_are_paused_for_longer_than_a_lease() -> None:
    assert {one.victim for one in LARGE.faults if one.pause_seconds == LONG_PAUSE} == set(PAUSED)


def test_faults_are_in_order_and_leave_the_ends_alone() -> None:
    moments = [one.at for one in LARGE.faults]
    assert moments == sorted(moments)
    assert 100_000 * EDGE <= moments[0] <= moments[-1] <= 100_000 * (1 - EDGE)


def test_the_page_about_it_has_every_mutation_with_its_rule() -> None:
    page = (REPOSITORY / "docs" / "chaos.md").read_text("utf-8")
    for name, mutation in MUTATIONS.items():
        assert f"| `{name}` | {mutation.rule} | {mutation.instead} | {' or '.join(mutation.shows_as)} |" in page
