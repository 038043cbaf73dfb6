"""The documentation says what is true of the code."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from services.__main__ import SERVICES
from services.console import command_line_page
from services.console.app import cli
from services.console.configuration_page import MODELS, render_page
from services.console.demo import EXAMPLE_QUERY
from shared import topics_page
from shared.catalogue import DEFAULT_RESOURCES, RESOURCES
from shared.connections import State
from shared.dead_letters import REPLAY_HEADER
from shared.messages import EventHeaders, Origin, RecordHeaders
from shared.metrics import REGISTRY
from shared.syncs import Status
from shared.topics import TOPICS

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "simulator" / "README.md"]
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
CODE = ("services", "shared", "local_stack", "simulator")
ONE_PAGE = 60  # lines
INVARIANTS = 17


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def section(text: str, heading: str) -> str:
    return text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def page_ids(pages: Iterable[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def test_configuration_page_is_what_the_settings_say() -> None:
    assert text_of("docs/configuration.md") == render_page(MODELS)


def test_configuration_page_has_every_variable_that_the_code_names() -> None:
    code = "".join(path.read_text("utf-8") for name in CODE for path in (ROOT / name).rglob("*.py"))
    named = set(re.findall(r"TILLSTREAM_[A-Z_]+", code))
    assert named <= set(re.findall(r"`(TILLSTREAM_[A-Z_]+)`", text_of("docs/configuration.md")))


def test_topics_page_is_what_topics_and_messages_say() -> None:
    assert text_of("docs/topics.md") == topics_page.render_page()


def test_topics_page_has_every_header_and_no_other() -> None:
    event = EventHeaders("con_1", 1, account_id="acct_1", livemode=True)
    flags = {"is_deleted": True, "is_complete": True, "is_compared": True}
    record = RecordHeaders(
        "con_1", "charge", 1, Origin.LISTED, slice_id=1, parent_id="in_1", account_id="acct_1", livemode=True, **flags
    )
    written = {"events": dict(event.encode()), "snapshots": dict(record.encode())}
    for topic, headers in written.items():
        shown = {name for name, (on, _) in topics_page.HEADERS.items() if topic in on.split(", ")}
        assert shown == headers.keys() | {REPLAY_HEADER}


def test_command_line_page_is_what_the_commands_say() -> None:
    assert text_of("docs/command-line.md") == command_line_page.render_page(cli, SERVICES)


def test_every_setting_has_a_description() -> None:
    assert not [
        name for model in MODELS.values() for name, field in model.model_fields.items() if not field.description
    ]


@pytest.mark.parametrize("page", PAGES, ids=page_ids(PAGES))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text("utf-8")):
        target = page.parent / file if file else page
        assert target.exists(), file
        assert not anchor or anchor in anchors_of(target), f"{file}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=page_ids(PAGES))
def test_pages_name_only_targets_that_make_knows(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=page_ids(PAGES))
def test_pages_name_only_files_that_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    paths = re.findall(r"`((?:services|shared|local_stack|simulator|tests|deploy|docs|scripts)/[\w/.-]+)`", text)
    assert not [path for path in paths if not (ROOT / path).exists() and not (page.parent / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=page_ids(PAGES))
def test_pages_name_only_variables_that_are_read(page: Path) -> None:
    """A name may end in `_`: then it stands for a family."""
    known = set(re.findall(r"TILLSTREAM_[A-Z_]*", text_of("docs/configuration.md")))
    known |= {"TILLSTREAM_", "TILLSTREAM_TEST_DATABASE_URL", "TILLSTREAM_TEST_KAFKA_BOOTSTRAP_SERVERS"}
    known |= {"TILLSTREAM_TEST_HISTORIES"}
    assert set(re.findall(r"TILLSTREAM_[A-Z_]*", page.read_text("utf-8"))) <= known


def test_readme_starts_with_what_make_demo_prints() -> None:
    readme = text_of("README.md")
    assert f'.venv/bin/tillstream psql -c "{EXAMPLE_QUERY}"' in readme
    assert readme.index("make demo") < readme.index("make run")


def test_architecture_has_the_topics() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \|$", section(text_of("ARCHITECTURE.md"), "## Topics"), re.MULTILINE)
    assert rows == [
        (t.noun, f"{t.key} | {t.producer} | {t.consumer} | {t.retention_ms // 86_400_000} days") for t in TOPICS
    ]


@pytest.mark.parametrize("state", [*State, *Status])
def test_architecture_explains_every_state(state: str) -> None:
    assert re.search(rf"\b{state}\b", section(text_of("ARCHITECTURE.md"), "## States"))


def test_architecture_explains_every_edge() -> None:
    states = section(text_of("ARCHITECTURE.md"), "## States")
    drawn = set(re.findall(r"-->.*: ([A-Z])$", states, re.MULTILINE))
    explained = re.findall(r"^\| ([A-Z]) \| .+ \| `[\w/.]+` \|$", states, re.MULTILINE)
    assert drawn
    assert sorted(drawn) == explained


@pytest.mark.parametrize("kind", ["connection", "sync"])
def test_architecture_draws_the_edges_that_the_database_allows(kind: str) -> None:
    states = section(text_of("ARCHITECTURE.md"), "## States")
    machine = states.partition("stateDiagram-v2")[2] if kind == "connection" else states.partition("state sync {")[2]
    drawn = re.findall(r"^ +(\w+) --> (\w+): [A-Z]$", re.split(r"```|\n  }", machine)[0], re.MULTILINE)
    sql = text_of("shared/migrations/0002_connection_life.sql")
    allowed = re.findall(rf"\('{kind}', '(\w+)', '(\w+)'\)", sql)
    assert allowed
    assert sorted(drawn) == sorted(allowed)


def test_every_invariant_names_the_code_that_holds_it() -> None:
    rules = re.findall(r"^(\d+)\. (.+)$", section(text_of("ARCHITECTURE.md"), "## What always holds"), re.MULTILINE)
    assert [int(number) for number, _ in rules] == list(range(1, INVARIANTS + 1))
    assert not [number for number, rule in rules if not re.search(r"`[\w/]+\.py`", rule)]


@pytest.mark.parametrize("page", ADRS, ids=page_ids(ADRS))
def test_decision_is_one_page_with_its_parts(page: Path) -> None:
    text = page.read_text("utf-8")
    assert len(text.splitlines()) <= ONE_PAGE
    assert re.match(rf"# {int(page.name[:4])}\. .+\n\nStatus: (accepted|superseded by \[ADR \d+\]\(.+\))\.\n", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]


def test_operations_page_has_every_metric() -> None:
    documented = re.findall(r"^\| `(tillstream_\w+)` \|", text_of("docs/operations.md"), re.MULTILINE)
    families = REGISTRY.collect()
    declared = [family.name + ("_total" if family.type == "counter" else "") for family in families]
    assert sorted(documented) == sorted(declared)


@pytest.mark.parametrize("page", ["CHANGELOG.md", "docs/troubleshooting.md"])
def test_pages_count_the_resources_right(page: str) -> None:
    text = text_of(page)
    assert f"{len(DEFAULT_RESOURCES)} are on by default" in text
    assert set(re.findall(r"(\d+) resources", text)) <= {str(len(RESOURCES))}


def test_troubleshooting_quotes_what_the_code_says() -> None:
    files = (p for name in CODE for p in (ROOT / name).rglob("*") if p.suffix in {".py", ".html"})
    code = re.sub(r'"\s*\n\s*f?"', "", "".join(path.read_text("utf-8") for path in files))  # strings in several parts
    quoted = re.findall("“(.+?)”", text_of("docs/troubleshooting.md"))
    assert quoted
    assert not [quote for quote in quoted if not all(part.strip() in code for part in quote.split("…"))]


def test_no_text_names_a_registry_or_a_place_of_one_machine() -> None:
    """Built from parts, so that this file does not name them either."""
    forbidden = [
        "files.python" + "hosted",
        "registry.npm" + "js",
        "repo1.ma" + "ven",
        "/wo" + "rk/",
        "py" + "pi.org/simple",
    ]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    texts = {name: (ROOT / name).read_bytes() for name in tracked if (ROOT / name).is_file()}
    assert not [(name, word) for name, text in texts.items() for word in forbidden if word.encode() in text]
