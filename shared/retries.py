"""How long to pause before trying again: exponential with full jitter, so that clients that fail together spread."""

from __future__ import annotations

import random
from collections.abc import Callable


def pause_seconds(
    attempt: int,
    *,
    base: float = 0.2,
    cap: float = 300.0,
    at_least: float | None = None,
    draw: Callable[[], float] = random.random,
) -> float:
    """Return the pause in seconds after the failure number `attempt` (from 0).

    `at_least` is what the other side asked for. https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
    """
    ceiling = min(cap, base * 2.0 ** min(attempt, 30))
    return (at_least or 0.0) + ceiling * draw()
