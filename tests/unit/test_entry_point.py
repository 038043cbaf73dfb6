"""`tillstream <service>`: the one entry point."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from services.__main__ import SERVICES, run
from shared.errors import ConfigError


def run_tillstream(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environ)


@pytest.mark.parametrize("module", SERVICES.values())
def test_every_service_of_the_table_exists(module: str) -> None:
    assert find_spec(module) is not None


def test_version_is_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    ended = run_tillstream("--version")
    assert (ended.returncode, ended.stdout.strip()) == (0, project["version"])


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


@pytest.mark.parametrize("command", ["connection-api", "migrate", "run", "doctor"])
@pytest.mark.parametrize(
    "address", ["postgresql://u:CANARYpw/slash@h/db", "postgresql://u:x@h:CANARYpw/db", "mysql://u:CANARYpw@h/db"]
)
def test_address_of_the_database_that_does_not_parse_is_told_without_it(
    command: str, address: str, tmp_path: Path
) -> None:
    ended = run_tillstream(command, TILLSTREAM_HOME=str(tmp_path), TILLSTREAM_DATABASE_URL=address)
    assert ended.returncode == (1 if command == "doctor" else 2)  # one of its checks fails
    assert "TILLSTREAM_DATABASE_URL" in ended.stderr + ended.stdout
    assert "CANARY" not in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    "raised",
    [
        "fail()",
        "import typer; app = typer.Typer(pretty_exceptions_enable=False); \
app.command()(fail); app([])",
    ],
)
def test_traceback_of_what_nobody_catches_is_masked(raised: str) -> None:
    program = f"""
import services.__main__ as entry
def fail() -> None:
    raise ValueError("postgresql://me:CANARYpw@host/db")
def run(arguments, environ):
    {raised}
entry.run = run
entry.main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "ValueError: postgresql://me:***@host/db" in ended.stderr
