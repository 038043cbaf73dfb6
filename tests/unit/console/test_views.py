"""What the important tables look like, on a wide and on a narrow terminal: a golden file each.

To change one, delete its file and run the test twice; then look at the difference.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from services.console.alarms import alarms_table, messages_table
from services.console.audit import audit_table
from services.console.connection_view import connection_view
from services.console.connections import connections_table
from services.console.dead_letters import groups_view, letters_table
from services.console.destinations import destinations_table
from services.console.keys import key_check_view
from services.console.progress import sync_view
from services.console.removals import preview_view, receipt_view
from services.console.state import needs, state_view, worst_first
from services.console.syncs import syncs_table
from services.console.tokens import tokens_table
from services.console.verify_schedules import schedule_view
from tests.unit.console.alarm_answers import ALARMS, MESSAGES
from tests.unit.console.answers import (
    AUDIT_ENTRY,
    BROKEN,
    KEY_CHECK,
    OTHER,
    PREVIEW,
    REMOVAL,
    RUNNING,
    TOKENS,
    connection,
    destination,
    sync,
)
from tests.unit.console.letter_answers import LETTER, LETTER_GROUP
from tests.unit.console.owed_answers import MANY
from tests.unit.console.schedule_answers import SCHEDULE

DATA = Path(__file__).parent / "data"
NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
LONG = {"id": "con_abcdefghijklmnopqrstu", "account_name": "A very long name of a company with many branches"}
VIEWS: dict[str, Callable[[], RenderableType]] = {
    "connections": lambda: connections_table([connection(), OTHER, BROKEN, connection(**LONG)], NOW),
    "connection": lambda: connection_view(BROKEN, {"dst_warehousewarehousewa1": "Warehouse"}, NOW),
    "syncs": lambda: syncs_table([RUNNING, sync(kind="gap_fill", status="failed", started_at=None)], NOW),
    "sync": lambda: sync_view(RUNNING | {"started_at": "2026-11-25T11:58:00Z"}, NOW),
    "key_check": lambda: key_check_view(KEY_CHECK),
    "preview": lambda: preview_view(PREVIEW),
    "receipt": lambda: receipt_view(REMOVAL),
    "destinations": lambda: destinations_table([destination() | {"schema": "stripe"}]),
    "alarms": lambda: alarms_table(ALARMS),
    "alarm_messages": lambda: messages_table(MESSAGES, NOW),
    "tokens": lambda: tokens_table(TOKENS, NOW),
    "dead_letters": lambda: letters_table([LETTER]),
    "dead_letter_groups": lambda: groups_view([LETTER_GROUP, LETTER_GROUP | {"letters": 1}]),
    "verify_schedule": lambda: schedule_view("Acme Inc", SCHEDULE, NOW),
    "audit": lambda: audit_table([AUDIT_ENTRY]),
    "state": lambda: state_view(worst_first(MANY), needs(worst_first(MANY)), NOW),
}


def shown(view: RenderableType, columns: int) -> str:
    console = Console(file=io.StringIO(), width=columns, highlight=False, emoji=False, color_system=None)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


@pytest.mark.parametrize("columns", [100, 60])
@pytest.mark.parametrize("name", VIEWS)
def test_view_looks_as_its_golden_file(name: str, columns: int) -> None:
    file = DATA / f"{name}_{columns}.txt"
    text = shown(VIEWS[name](), columns)
    if not file.exists():
        file.write_text(text, "utf-8")
        pytest.fail(f"{file} was missing and has been written: look at it.")
    assert text == file.read_text("utf-8")


@pytest.mark.parametrize("columns", [100, 60, 40])
@pytest.mark.parametrize("name", VIEWS)
def test_no_line_is_wider_than_the_terminal(name: str, columns: int) -> None:
    assert max(map(len, shown(VIEWS[name](), columns).splitlines())) <= columns
