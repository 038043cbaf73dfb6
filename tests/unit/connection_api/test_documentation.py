"""docs/api.md names what the code has, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from services.connection_api.rest.api_page import renew
from services.connection_api.rest.error_codes import answered_errors
from services.connection_api.rest.operations import OPERATIONS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "api.md").read_text()


def test_every_operation_is_documented_in_order() -> None:
    documented = re.findall(r"^\| `(\w+) (/\S+)` \| (\w+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert documented == [(o.method, o.path, str(o.access), o.summary) for o in OPERATIONS]


def test_tables_are_what_the_code_says() -> None:
    assert renew(PAGE) == PAGE


def test_every_code_is_documented_with_its_status() -> None:
    documented = {(int(status), code) for code, status in re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.MULTILINE)}
    assert documented == {(error.status, error.code) for error in answered_errors()}
    assert {(401, "unauthenticated"), (503, "database_unavailable"), (429, "too_many_attempts")} <= documented


def test_every_code_of_the_probe_is_documented() -> None:
    names = ("postgres_probe.py", "postgres_faults.py", "postgres_survey.py", "postgres_mark.py")
    source = "".join((ROOT / "shared" / name).read_text() for name in names)
    documented = re.findall(r"^\| `(destination_\w+)` \| \D", PAGE, re.MULTILINE)
    assert len(set(documented)) == len(documented)
    assert set(documented) == set(re.findall(r'"(destination_\w+)"', source))
