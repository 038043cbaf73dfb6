"""`tillstream <service>`: the one entry point."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from services.__main__ import SERVICES, run
from shared.errors import ConfigError


def run_tillstream(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env={})


@pytest.mark.parametrize("module", SERVICES.values())
def test_every_service_of_the_table_exists(module: str) -> None:
    assert find_spec(module) is not None


def test_missing_settings_are_told_in_one_sentence() -> None:
    ended = run_tillstream("webhook-gateway")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "ENCRYPTION_KEYS"):
        assert f"TILLSTREAM_{name}" in ended.stderr


def test_service_takes_no_arguments() -> None:
    with pytest.raises(ConfigError, match="takes no arguments"):
        run(["sync-worker", "--verbose"], {})


def test_nothing_is_imported_but_what_runs() -> None:
    script = "import sys, services.__main__; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    loaded = printed.stdout.split()
    assert {name for name in loaded if name.startswith("services")} == {"services", "services.__main__"}
    assert not {"aiohttp", "asyncpg", "stripe", "typer"} & set(loaded)
