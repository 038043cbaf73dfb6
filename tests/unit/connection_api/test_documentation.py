"""docs/api.md names what the code has, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from services.connection_api.operations import OPERATIONS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "api.md").read_text()


def test_every_operation_is_documented_in_order() -> None:
    documented = re.findall(r"^\| `(\w+) (/\S+)` \| (\w+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert documented == [(o.method, o.path, str(o.access), o.summary) for o in OPERATIONS]


def test_every_code_of_the_probe_is_documented() -> None:
    source = "".join((ROOT / "shared" / name).read_text() for name in ("postgres_probe.py", "postgres_faults.py"))
    documented = re.findall(r"^\| `(destination_\w+)` \| ", PAGE, re.MULTILINE)
    assert len(set(documented)) == len(documented)
    assert set(documented) == set(re.findall(r'"(destination_\w+)"', source))
