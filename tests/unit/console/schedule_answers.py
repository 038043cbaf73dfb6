"""A schedule of comparisons, as the API says it."""

from __future__ import annotations

from tests.unit.console.answers import Json

RUN: Json = {
    "sync_id": "syn_nightnightnightnight1",
    "finished_at": "2026-11-25T01:02:00Z",
    "compared": 1200,
    "differences": 0,
    "skipped": 0,
}
SCHEDULE: Json = {
    "how_often": "daily",
    "hour": 2,
    "zone": "Europe/Berlin",
    "pages": 2,
    "calls": 72,
    "next_run_at": "2026-11-26T01:00:00Z",
    "last_run": RUN,
    "runs": [RUN, RUN | {"sync_id": "syn_nightnightnightnight2", "differences": 3}],
}
NEVER: Json = SCHEDULE | {"how_often": "never", "next_run_at": None, "last_run": None, "runs": []}
