"""The documentation says what is true of the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from services.console.configuration_page import MODELS, render_page
from shared.topics import TOPICS

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "simulator" / "README.md"]


def test_configuration_page_is_what_the_settings_say() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == render_page(MODELS)


def test_every_setting_has_a_description() -> None:
    assert not [
        name for model in MODELS.values() for name, field in model.model_fields.items() if not field.description
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_readme_names_only_targets_that_make_knows() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert named
    assert named <= targets


def test_architecture_names_only_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    paths = re.findall(r"`((?:services|shared|local_stack|simulator)/[a-z_/]+\.py)`", text)
    assert paths
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_architecture_has_the_topics() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for topic in TOPICS:
        row = f"| `{topic.noun}` | {topic.key} | {topic.producer} | {topic.consumer} |"
        assert row in text
        assert f"{row} {topic.retention_ms // 86_400_000} days |" in text


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
