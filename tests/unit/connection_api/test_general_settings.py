"""What the page about the installation tells: derived from the rules, and from what is shipped."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from services.connection_api.views.news import MOST, newest, read_news
from services.connection_api.views.retention import kept
from services.sync_worker.expiry import EXPIRED
from shared.retention import EXPIRING, spell
from shared.version import VERSION
from tests.infrastructure import REPOSITORY


def test_what_is_told_is_what_is_deleted() -> None:
    told = dict(kept())
    assert EXPIRED.keys() == EXPIRING.keys()
    for table, one in EXPIRING.items():
        assert EXPIRED[table] == one.expired
        assert not one.what or told[one.what] == one.how_long
    assert told["Failed records"] == "35 days"
    assert told["Records in Kafka: events"] == "At most 8 days 1 hour"
    assert told["Replaced signing secrets"] == "1 hour after the last webhook that may use them"


@pytest.mark.parametrize(
    ("life", "words"),
    [
        (timedelta(days=35), "35 days"),
        (timedelta(days=1, hours=2), "1 day 2 hours"),
        (timedelta(minutes=5), "less than an hour"),
    ],
)
def test_a_length_of_time_is_spelt(life: timedelta, words: str) -> None:
    assert spell(life) == words


def test_news_are_the_newest_entries_without_their_marks() -> None:
    added = "### Added\n\n- *One* has `code` and [a link](docs/a.md).\n  Folded.\n- Two.\n"
    text = f"# Changelog\n\n## [1.0.0]\n\n{added}\n## [0.9.0]\n\n- Old.\n"
    assert newest(text) == ["One has code and a link.", "Two."]
    assert len(newest("### Added\n" + "- x\n" * 20)) == MOST
    assert newest("") == []


def test_the_changelog_is_shipped(tmp_path: Path) -> None:
    assert len(read_news()) == MOST
    assert read_news([tmp_path / "CHANGELOG.md"]) == ()
    wheel = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"CHANGELOG.md": "services/CHANGELOG.md"}
    assert "COPY CHANGELOG.md /opt/tillstream/src/CHANGELOG.md" in (REPOSITORY / "Dockerfile").read_text()
    assert "!CHANGELOG.md" in (REPOSITORY / ".dockerignore").read_text().split()


def test_the_version_is_that_of_the_project() -> None:
    assert tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"] == VERSION
