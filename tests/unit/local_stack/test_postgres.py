from __future__ import annotations

from pathlib import Path

import pytest

from local_stack.postgres import LocalPostgres, find_binaries
from shared.errors import ConfigError


def test_missing_package_is_said_with_the_fix() -> None:
    with pytest.raises(ConfigError, match=r"PostgreSQL is not installed: .*TILLSTREAM_DATABASE_URL"):
        find_binaries("no_such_package")


def test_server_and_its_tools_are_in_the_package() -> None:
    assert {"initdb", "pg_config", "postgres"} <= {path.name for path in find_binaries().iterdir()}


def test_nothing_is_touched_before_the_server_is_prepared(tmp_path: Path) -> None:
    LocalPostgres(tmp_path / "postgres")

    assert list(tmp_path.iterdir()) == []
