"""What connections owe, as the API says it."""

from __future__ import annotations

from typing import Any

from tests.unit.console.answers import BROKEN, LIVE, OTHER, WAREHOUSE, Json, connection


def owed(**changes: Any) -> Json:
    return {
        "code": "missing_permissions",
        "severity": "person",
        "sentence": "The API key may not read charges (rak_charge_read).",
        "fix": "Give the key this permission, or paste another key.",
        "remedy": "update_key",
        "about": None,
        "letters": None,
        "since": "2026-11-25T11:20:00Z",
        "attempts": None,
        "next_try_at": None,
    } | changes


LATE = owed(
    code="parked",
    severity="late",
    sentence="5 rows can't be written yet: the destination does not answer.",
    fix=None,
    remedy="check_destination",
    about=WAREHOUSE,
    since="2026-11-25T11:42:00Z",
    next_try_at="2026-11-25T12:01:00Z",
)
DELAYED = connection(
    id="con_3delayhoolihoolihool2",
    account_name="Hooli",
    status=LIVE | {"word": "Delayed", "text": "Delayed", "tone": "warning"},
    owed=[LATE],
)
MANY = [connection(), OTHER, DELAYED, BROKEN | {"owed": [LATE, owed()]}]
