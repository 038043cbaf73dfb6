"""Writes `kafka.lock` anew from the coordinates in `local_stack.jars`; run by `make lock`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from jgo.maven import MavenContext

from local_stack.download import artifact, maven
from local_stack.jars import KAFKA, LOCK, LOG_BRIDGE, Jar, write_lock


def resolve(context: MavenContext) -> list[Jar]:
    """Return the broker's jars, their dependencies, and the bridge for its log, each with its digest."""
    # The bridge is not resolved beside the broker: its own dependency management would then replace
    # the broker's client library with an older one.
    broker = context.create_dependency(KAFKA)
    inputs, transitive = context.resolver.resolve([broker])
    found = [*inputs, *(dep for dep in transitive if dep.scope in {"compile", "runtime"})]
    names = [(dep.groupId, dep.artifactId, dep.version) for dep in found]
    group, name, version = LOG_BRIDGE.split(":")
    return [_digested(context, *coordinates) for coordinates in [*names, (group, name, version)]]


def _digested(context: MavenContext, group: str, name: str, version: str) -> Jar:
    path = artifact(context, Jar(group, name, version, "")).resolve()
    return Jar(group, name, version, hashlib.sha256(path.read_bytes()).hexdigest())


def main() -> None:
    """Resolve, download and write."""
    with tempfile.TemporaryDirectory() as folder:
        LOCK.write_text(write_lock(resolve(maven(Path(folder), os.environ))))


if __name__ == "__main__":
    main()
