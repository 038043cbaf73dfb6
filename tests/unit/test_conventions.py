"""Conventions of the code, as tests: layers, sizes, names, seams."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("services", "shared", "simulator", "local_stack")
MODULES = sorted(path for name in OURS for path in (ROOT / name).rglob("*.py"))
SERVICES = ("webhook_gateway", "sync_worker", "connection_api", "destination_writer")
LONGEST_MODULE = 400  # lines


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def names_used(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


def importers_of(package: str) -> set[str]:
    return {name_of(p) for p in MODULES if any(i == package or i.startswith(package + ".") for i in imports_of(p))}


def test_shared_knows_nothing_of_what_uses_it() -> None:
    users = {p for name in ("services", "simulator", "local_stack") for p in importers_of(name)}
    assert not [path for path in users if path.startswith("shared/")]


def test_simulator_shares_no_code_with_what_it_judges() -> None:
    used = importers_of("services") | importers_of("shared") | importers_of("local_stack")
    assert not [path for path in used if path.startswith("simulator/")]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_no_other(service: str) -> None:
    others = [importers_of(f"services.{other}") for other in (*SERVICES, "console") if other != service]
    assert not [path for paths in others for path in paths if path.startswith(f"services/{service}/")]


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_shape(service: str) -> None:
    files = {path.name for path in (ROOT / "services" / service).glob("*.py")}
    assert {"__init__.py", "settings.py", "app.py"} <= files
    assert files & {"routes.py", "handlers.py"}


def test_stripes_package_has_one_door() -> None:
    assert importers_of("stripe") == {"shared/stripe_api.py"}


def test_no_stripe_objects_on_any_path() -> None:
    """They cost hundreds of times what a split of the bytes costs."""
    costly = {"StripeObject", "construct_event", "construct_from", "ListObject"}
    paths = [path for path in MODULES if not name_of(path).startswith("simulator/")]
    assert not [name_of(path) for path in paths if costly & set(names_used(path))]


def test_asyncpg_stays_behind_its_seams() -> None:
    seams = ("shared/db.py", "shared/postgres_", "services/destination_writer/destinations/postgres/")
    tools = ("services/console/", "local_stack/")
    assert not [path for path in importers_of("asyncpg") if not path.startswith((*seams, *tools))]


def test_broad_excepts_stand_only_where_errors_are_translated() -> None:
    found = {
        name_of(path) for path in MODULES if re.search(r"except (Base)?Exception\b(?!.*\n\s+await)", path.read_text())
    }
    translators = {"shared/http.py", "shared/consumers.py", "shared/kafka.py"}
    assert not {path for path in found if path.startswith(("services/", "shared/"))} - translators - CLEAN_UPS


CLEAN_UPS = {
    # They close what they opened and raise on.
    "services/destination_writer/destinations/postgres/destination.py",
}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_MODULE
    assert not text.strip() or ast.get_docstring(ast.parse(text))


def test_no_module_is_a_grab_bag() -> None:
    names = {"utils", "util", "helpers", "common", "base", "core_utils", "manager", "misc"}
    assert not [name_of(path) for path in MODULES if path.stem in names]


def test_every_metric_is_used() -> None:
    text = (ROOT / "shared" / "metrics.py").read_text("utf-8")
    declared = re.findall(r"^([A-Z_]+) = (?:Counter|Gauge|Histogram)\(", text, re.MULTILINE)
    others = "\n".join(path.read_text("utf-8") for path in MODULES if path.name != "metrics.py")
    assert declared
    assert not [name for name in declared if not re.search(rf"\b{name}\b", others)]


def test_no_metric_is_declared_elsewhere() -> None:
    assert importers_of("prometheus_client") <= {"shared/metrics.py", "shared/http.py"}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_requirement_is_pinned_with_hashes(lock: str) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / lock).read_text().strip())
    assert entries
    assert not [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry]


def test_no_installed_package_shadows_ours() -> None:
    found = packages_distributions()
    assert not [name for name in OURS if [d for d in found.get(name, ()) if d != "tillstream"]]
