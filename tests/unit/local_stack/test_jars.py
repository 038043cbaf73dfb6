from __future__ import annotations

import hashlib
from pathlib import Path

from local_stack.jars import KAFKA, LOCK, LOG_BRIDGE, Jar, Progress, read_lock, write_lock

HELLO = Jar("org.example", "hello", "1.0", hashlib.sha256(b"hello").hexdigest())


def test_lock_comes_back_as_it_was_written() -> None:
    other = Jar("com.example", "other", "2", "0" * 64)

    assert read_lock(write_lock([HELLO, other])) == [other, HELLO]


def test_committed_lock_pins_the_broker_and_names_no_host() -> None:
    text = LOCK.read_text()
    jars = read_lock(text)

    assert {KAFKA, LOG_BRIDGE} <= {jar.coordinates for jar in jars}
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert "//" not in text


def test_broker_and_its_client_library_are_of_one_version() -> None:
    """A dependency's own dependency management once swapped the client library for an older one."""
    versions = {jar.version for jar in read_lock(LOCK.read_text()) if jar.group == "org.apache.kafka"}

    assert versions == {KAFKA.rpartition(":")[2]}


def test_changed_or_missing_jar_is_not_intact(tmp_path: Path) -> None:
    assert not HELLO.is_intact(tmp_path)

    (tmp_path / "hello-1.0.jar").write_bytes(b"hello")
    assert HELLO.is_intact(tmp_path)

    (tmp_path / "hello-1.0.jar").write_bytes(b"hellO")
    assert not HELLO.is_intact(tmp_path)


def test_progress_reads_as_a_phrase() -> None:
    assert str(Progress("Downloading Apache Kafka", 12, 45)) == "Downloading Apache Kafka 12/45"
