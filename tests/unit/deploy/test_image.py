"""The Dockerfile: what goes in, and who it runs as."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def test_every_package_of_the_distribution_is_in_the_image() -> None:
    packages = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    ignored = (REPOSITORY / ".dockerignore").read_text().split()
    assert set(re.findall(r"^COPY (\w+) ", DOCKERFILE, re.MULTILINE)) == packages
    assert {f"!{package}" for package in packages} <= set(ignored)


def test_only_what_a_single_machine_needs_is_left_out() -> None:
    [names] = re.findall(r"\^\(([a-z0-9|-]+)\)==", DOCKERFILE)
    wanted = {
        re.split(r"[><=]", requirement)[0] for requirement in PROJECT["project"]["optional-dependencies"]["local"]
    }
    assert set(names.split("|")) == wanted


def test_packages_are_installed_by_their_hashes() -> None:
    assert "pip install --require-hashes" in DOCKERFILE


def test_image_runs_as_nobody_in_particular() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert 'ENTRYPOINT ["tillstream"]' in DOCKERFILE
