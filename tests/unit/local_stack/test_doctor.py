from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local_stack.doctor import (
    Outcome,
    address_of,
    check_clock,
    check_disk,
    check_home,
    check_java,
    check_kafka,
    check_memory,
    check_ports,
    check_postgres,
    check_python,
    examine,
)

GIB = 1024**3
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(("version", "outcome"), [((3, 10, 9), "fail"), ((3, 11, 0), "ok"), ((3, 14, 1), "ok")])
def test_python_from_3_11_on_will_do(version: tuple[int, ...], outcome: str) -> None:
    assert check_python(version).outcome == outcome


@pytest.mark.parametrize(("free", "outcome"), [(2 * GIB, "ok"), (2 * GIB - 1, "fail")])
def test_two_gigabytes_of_disk_are_wanted(free: int, outcome: str) -> None:
    assert check_disk(Path("/x"), free).outcome == outcome


@pytest.mark.parametrize(("available", "outcome"), [(GIB, "ok"), (GIB - 1, "warn")])
def test_little_memory_is_a_warning(available: int, outcome: str) -> None:
    assert check_memory(available).outcome == outcome


@pytest.mark.parametrize(("seconds", "outcome"), [(4, "ok"), (-4, "ok"), (60, "warn"), (-301, "fail")])
def test_clock_may_differ_a_little(seconds: int, outcome: str) -> None:
    assert check_clock(NOON + timedelta(seconds=seconds), NOON).outcome == outcome


def test_clock_without_another_to_compare_is_no_trouble() -> None:
    assert check_clock(None, NOON).outcome is Outcome.UNKNOWN


def test_missing_java_is_a_warning_with_a_fix(tmp_path: Path) -> None:
    check = check_java({"PATH": str(tmp_path)}, None)

    assert check.outcome is Outcome.WARN
    assert check.fix.startswith("Install Java 17")


def test_home_that_is_still_to_be_made_is_not_made_by_the_check(tmp_path: Path) -> None:
    assert check_home(tmp_path / "home").outcome is Outcome.OK
    assert not (tmp_path / "home").exists()


def test_home_that_cannot_be_written_fails_with_a_fix() -> None:
    check = check_home(Path("/proc/tillstream"))

    assert check.outcome is Outcome.FAIL
    assert "TILLSTREAM_HOME" in check.fix


def test_loopback_can_be_listened_on() -> None:
    assert check_ports().outcome is Outcome.OK


async def test_silent_servers_fail_without_a_word_of_the_password() -> None:
    postgres = await check_postgres("postgresql://me:hunter2@127.0.0.1:1/till")
    kafka = await check_kafka("127.0.0.1:1")

    assert postgres.outcome is kafka.outcome is Outcome.FAIL
    assert postgres.sentence == "Postgres at 127.0.0.1:1/till does not answer."
    assert "hunter2" not in repr(postgres)


async def test_whole_examination_has_one_answer_for_each_question(tmp_path: Path) -> None:
    names = [check.name for check in await examine(tmp_path, {"PATH": ""})]

    assert names == [
        *("Python", "Java", "Home folder", "Disk", "Memory"),
        *("Loopback", "Clock", "Postgres", "Kafka"),
    ]


def test_address_is_shown_without_user_and_password() -> None:
    assert address_of("postgresql://me:hunter2@db.example/till") == "db.example:5432/till"


async def test_what_was_not_checked_is_not_ticked() -> None:
    assert (await check_postgres(None)).outcome is Outcome.UNKNOWN
    assert (await check_kafka(None)).outcome is Outcome.UNKNOWN
