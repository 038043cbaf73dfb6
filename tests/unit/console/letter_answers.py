"""What the API tells of dead letters."""

from __future__ import annotations

from tests.unit.console.answers import WAREHOUSE

LETTER = {
    "id": "dlt_17",
    "group_id": "grp_1",
    "stage": "write",
    "code": "destination_rejected",
    "reason": "column amount is of type integer but expression is of type text",
    "connection_id": "con_5f3kacmeacmeacmeacme2",
    "destination_id": WAREHOUSE,
    "resource": "charge",
    "object_id": "ch_1",
    "topic": "tillstream.snapshots.v1",
    "partition": 3,
    "offset": 77,
    "attempts": 2,
    "first_seen_at": "2026-11-25T11:00:00Z",
    "last_seen_at": "2026-11-25T11:05:00Z",
    "is_replaying": False,
}
LETTER_DETAIL = LETTER | {"headers": {"resource": "charge"}, "size": 13, "body": '{"id":"ch_1"}', "is_cut": False}
LETTER_GROUP = {
    "id": "grp_1",
    "letters": 417,
    "code": "destination_rejected",
    "summary": "column amount is of type integer but expression is of type text",
    "connection_id": LETTER["connection_id"],
    "destination_id": WAREHOUSE,
    "resource": "charge",
    "first_seen_at": LETTER["first_seen_at"],
    "last_seen_at": LETTER["last_seen_at"],
    "example_id": "dlt_17",
}
REPLAY = {
    "id": "rep_1",
    "status": "running",
    "letters": 3,
    "written": 0,
    "asked": 0,
    "failed": 0,
    "skipped": 0,
    "waiting": 3,
    "note": None,
    "requested_at": "2026-11-25T11:10:00Z",
    "finished_at": None,
}
