"""Clients in two languages are made of the API's description, and lead a connection from its beginning to its receipt.

The generators are fetched for it by their lock files, each into a folder of the test's own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.connection_api.rest.openapi import describe
from services.connection_api.rest.operations import OPERATIONS
from tests.e2e.deployment import SCHEMA, TOKEN, Deployment, deployed, until

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.long]

SOURCES = Path(__file__).parent / "clients"
PATIENCE = 900.0  # seconds for one program; fetching is the longest
needs_node = pytest.mark.skipif(shutil.which("npm") is None, reason="Node.js is not on this machine.")


def run(*command: str | Path, cwd: Path, **environ: str) -> None:
    ran = subprocess.run(
        command, cwd=cwd, env=os.environ | environ, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout[-4000:]}\n{ran.stderr[-4000:]}"


@pytest.fixture
def document(tmp_path: Path) -> Path:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(describe(OPERATIONS)), "utf-8")
    return file


@pytest.fixture
def environ(
    module_database_url: str, kafka_bootstrap_servers: str, topic_prefix: str, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """What a journey is given: the address of an API whose services run, a key of its Stripe, and a database."""
    with deployed(tmp_path / "parts", module_database_url, kafka_bootstrap_servers, topic_prefix=topic_prefix) as site:
        yield start(site)


def start(site: Deployment) -> dict[str, str]:
    site.start_simulator("--objects", "300", "--no-rate-limits", "--live")
    parts = [site.start(n) for n in ("webhook-gateway", "sync-worker", "destination-writer", "connection-api")]
    for part in parts:
        until(lambda part=part: part.probe() == 200, f"{part.name} is ready", because=part.text)
    key = site.control.get("state")["api_key"]
    place = {"DATABASE_URL": site.database_url, "SCHEMA": SCHEMA}
    return place | {"API_URL": parts[-1].url, "API_TOKEN": TOKEN, "STRIPE_KEY": key}


def python_journey(document: Path, folder: Path, environ: dict[str, str]) -> None:
    sources, bin_ = SOURCES / "python", folder / "venv" / "bin"
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    lock = sources / "requirements.lock"
    run(bin_ / "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", lock, cwd=folder)
    made = ("--path", document, "--output-path", folder / "tillstream_client", "--meta", "none", "--fail-on-warning")
    path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
    run(bin_ / "openapi-python-client", "generate", *made, cwd=folder, PATH=path)
    run(bin_ / "python", sources / "journey.py", cwd=folder, PYTHONPATH=str(folder), **environ)


def typescript_journey(document: Path, folder: Path, environ: dict[str, str]) -> None:
    for source in (SOURCES / "typescript").iterdir():
        if source.is_file():
            shutil.copy(source, folder)
    run("npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", cwd=folder)
    tools = folder / "node_modules" / ".bin"
    run(tools / "openapi-typescript", document, "--output", folder / "schema.d.ts", cwd=folder)
    run(tools / "tsc", "--project", ".", cwd=folder)
    run("node", folder / "built" / "journey.js", cwd=folder, **environ)


@pytest.mark.parametrize("journey", [python_journey, pytest.param(typescript_journey, marks=needs_node)])
def test_client_leads_a_connection_through_its_life(
    document: Path, environ: dict[str, str], tmp_path: Path, journey: Callable[[Path, Path, dict[str, str]], None]
) -> None:
    folder = tmp_path / "client"
    folder.mkdir()
    journey(document, folder, environ)
