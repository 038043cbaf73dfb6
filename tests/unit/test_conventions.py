"""Conventions of the code, as tests: layers, sizes, names, seams."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("services", "shared", "simulator", "local_stack")
MODULES = sorted(path for name in OURS for path in (ROOT / name).rglob("*.py"))
OTHERS = sorted(path for name in ("tests", "bench") for path in (ROOT / name).rglob("*.py"))
SERVICES = ("webhook_gateway", "sync_worker", "connection_api", "destination_writer")
LONGEST_MODULE = 400  # lines


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def imports_of(path: Path) -> frozenset[str]:
    nodes = list(ast.walk(tree_of(path)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return frozenset(plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module})


def names_used(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
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
    found = {name_of(path) for path in MODULES if any(map(swallows_everything, handlers_of(path)))}
    assert found == {"shared/http.py", "shared/consumers.py", "shared/background.py"}


def handlers_of(path: Path) -> Iterator[ast.ExceptHandler]:
    return (n for n in ast.walk(tree_of(path)) if isinstance(n, ast.ExceptHandler))


def swallows_everything(handler: ast.ExceptHandler) -> bool:
    """Tell whether it catches every error and ends with something else than raising it on."""
    caught = {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)} if handler.type else {"Exception"}
    last = handler.body[-1]
    raises_on = isinstance(last, ast.Raise) and last.exc is None
    return bool(caught & {"Exception", "BaseException"}) and not raises_on


def test_offsets_are_committed_in_one_place() -> None:
    """Another policy than the one of `shared.consumers` would lose records: FastStream's default commits first."""
    policy = {"AckPolicy", "ack_policy", "ack", "nack", "commit"}
    # A destination commits a transaction, and the broker watch a mark at an offset that nobody reads from.
    owners = ("shared/consumers.py", "services/destination_writer/destinations/", "services/sync_worker/broker.py")
    assert not [
        name_of(path)
        for path in MODULES
        if name_of(path).startswith(("shared/", "services/"))
        and not name_of(path).startswith(owners)
        and policy & (set(names_used(path)) | set(keywords_used(path)))
    ]


def keywords_used(path: Path) -> Iterator[str]:
    return (n.arg for n in ast.walk(tree_of(path)) if isinstance(n, ast.keyword) and n.arg)


def test_the_environment_is_read_at_the_entry_points_alone() -> None:
    readers = {name_of(path) for path in MODULES if {"environ", "getenv"} & set(attributes_of_os(path))}
    tools = ("services/console/", "local_stack/", "simulator/")
    assert {path for path in readers if not path.startswith(tools)} == {"services/__main__.py"}


def attributes_of_os(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            yield node.attr


def test_every_module_is_short() -> None:
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in (*MODULES, *OTHERS)}
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE}


def test_every_module_says_what_it_is_for() -> None:
    empty = {path for path in MODULES if path.name == "__init__.py" and not path.read_text("utf-8").strip()}
    assert not [name_of(path) for path in MODULES if path not in empty and not ast.get_docstring(tree_of(path))]


def test_no_module_is_a_grab_bag() -> None:
    names = {"utils", "util", "helpers", "common", "manager", "misc"}
    assert not [name_of(path) for path in (*MODULES, *OTHERS) if path.stem in names]


def test_tests_replace_no_code_and_import_no_conftest() -> None:
    """A test that patches by a dotted name holds the code to its shape, not to what it does."""
    for path in OTHERS:
        assert "unittest.mock" not in imports_of(path), name_of(path)
        assert not [name for name in imports_of(path) if "conftest" in name.split(".")], name_of(path)


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


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_no_lock_file_names_an_index(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"^\s*(-i|-f|--(extra-)?index-url|--find-links|--trusted-host)\b|://", text, re.MULTILINE)


def test_no_installed_package_shadows_ours() -> None:
    found = packages_distributions()
    assert not [name for name in OURS if [d for d in found.get(name, ()) if d != "tillstream"]]
