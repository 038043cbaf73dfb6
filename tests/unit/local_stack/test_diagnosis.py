from __future__ import annotations

from pathlib import Path

import pytest

from local_stack.diagnosis import explain_failure, read_tail


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("FATAL: could not write lock file: No space left on device", "free at least 2 GB"),
        ("LOG: could not bind IPv4 address: Address already in use", "start again, and a free port is chosen"),
        ("java.net.BindException: Address already in use", "start again, and a free port is chosen"),
        ("PermissionError: Permission denied", "give yourself access"),
        ("java.lang.OutOfMemoryError: Java heap space", "ran out of memory"),
        ("java.lang.UnsupportedClassVersionError: kafka/Kafka", "install Java 17 or newer"),
    ],
)
def test_known_trouble_in_the_log_is_said_with_its_fix(tmp_path: Path, line: str, fix: str) -> None:
    log = tmp_path / "kafka.log"
    log.write_text(f"starting\n{line}\nbye\n")

    sentence = explain_failure("kafka", "ended with exit code 1", log)

    assert sentence.startswith("kafka did not start (ended with exit code 1): ")
    assert fix in sentence
    assert sentence.endswith(f"Its log: {log}")


def test_unknown_trouble_is_quoted(tmp_path: Path) -> None:
    log = tmp_path / "writer.log"
    log.write_text("one\nValueError: two\n\n")

    assert "its last words: ValueError: two. Its log" in explain_failure("writer", "was not ready", log)


def test_silence_is_said(tmp_path: Path) -> None:
    assert "it said nothing" in explain_failure("writer", "was not ready", tmp_path / "none.log")


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_bytes(b"No space left on device\n" + b"x" * 10_000)

    assert "No space" not in read_tail(log)
