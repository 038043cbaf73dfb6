"""Loopback ports that stay the same from one start to the next as long as nobody else takes them."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shared.errors import ConfigError

LOOPBACK = "127.0.0.1"
# Below the ranges that Linux (from 32768) and macOS (from 49152) lend to outgoing connections: a
# port from there can be lost to a stranger in the second between a crash and the restart.
CANDIDATES = range(20_000, 30_000)
ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Return whether a server can listen on `port` of the loopback address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose_ports(file: Path, names: tuple[str, ...], *, free: Callable[[int], bool] = is_free) -> dict[str, int]:
    """Return a free port for each name: the one kept in `file` if it is free, else a new one, kept there.

    Raises ConfigError when no port can be had.
    """
    kept = _read(file)
    chosen: dict[str, int] = {}
    for name in names:
        chosen[name] = _choose(kept.get(name), taken=set(chosen.values()), free=free)
    file.write_text(json.dumps(chosen))
    return chosen


def _choose(kept: int | None, *, taken: set[int], free: Callable[[int], bool]) -> int:
    if kept is not None and kept not in taken and free(kept):
        return kept
    for port in random.sample(CANDIDATES, ATTEMPTS):
        if port not in taken and free(port):
            return port
    raise ConfigError(
        f"No free port was found on {LOOPBACK} between {CANDIDATES.start} and {CANDIDATES.stop}: "
        "stop programs that listen there, or check that the loopback interface is up."
    )


def _read(file: Path) -> dict[str, int]:
    with suppress(OSError, ValueError, AttributeError):
        return {name: int(port) for name, port in json.loads(file.read_text()).items()}
    return {}
