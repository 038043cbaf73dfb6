"""What goes wrong in a run, and when: all of it follows from the seed.

Moments are counted in events of the business, so that a slow machine meets the same plan as a fast one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.crashes import POINTS

VICTIMS = ("webhook-gateway", "sync-worker", "connection-api", "destination-writer", "postgres", "kafka")
PAUSED = ("sync-worker", "destination-writer")
SHORT_PAUSE, LONG_PAUSE = 3.0, 11.0  # seconds; the long one outlives the lease of a slice, which is 10 s
KILLS_PER_PAUSE = 6
EDGE = 0.03  # share of the events at both ends without a kill
WEATHERS_APART = 400  # events

# What the simulator does wrong all the time; a weather adds to it.
ALWAYS: Mapping[str, Any] = {
    "webhook_loss": 0.01,
    "webhook_late": 0.03,
    "webhook_late_seconds": 8.0,
    "webhook_duplicate": 0.05,
    "webhook_reorder": 0.3,
    "webhook_reorder_seconds": 1.5,
    "webhook_retry_seconds": 1.0,
    "webhook_retries": 4,
    "http_429": 0.01,
    "http_500": 0.01,
    "http_503": 0.01,
    "http_cut": 0.01,
    "http_slow": 0.03,
    "http_slow_seconds": 4.0,
}
CALM: Mapping[str, Any] = {name: 0.0 for name in ALWAYS if name.startswith(("webhook", "http")) and "_re" not in name}
WEATHERS: tuple[Mapping[str, Any], ...] = (
    {},
    {"webhook_loss": 0.15},
    {"webhook_late": 0.4},
    {"webhook_duplicate": 0.8},
    {"webhook_reorder": 1.0, "webhook_reorder_seconds": 3.0},
    {"http_429": 0.3},
    {"http_500": 0.2, "http_503": 0.2},
    {"http_cut": 0.25},
    {"http_slow": 0.5},
    {"latency_after_ms": 1200.0},
    {"latency_before_ms": 300.0, "webhook_loss": 0.05},
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is done to the product when so many events have happened."""

    at: int
    victim: str
    point: str = ""  # where it kills itself; it is killed from outside if there is none
    pause_seconds: float = 0.0  # it is stopped for so long instead of being killed


@dataclass(frozen=True, slots=True)
class Weather:
    """What Stripe does wrong from so many events on."""

    at: int
    faults: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """All of a run."""

    seed: int
    events: int
    faults: tuple[Fault, ...]
    weathers: tuple[Weather, ...]
    scenarios: tuple[str, ...] = ()  # that are run besides, again and again

    @property
    def kills(self) -> int:
        """How many processes are to die."""
        return sum(1 for fault in self.faults if not fault.pause_seconds)


def make_plan(seed: int, *, events: int, kills: int) -> Plan:
    """Return the plan of a seed: every victim is killed as often as the others, at moments that the seed draws."""
    rng = random.Random(seed)
    victims = [VICTIMS[number % len(VICTIMS)] for number in range(kills)]
    rng.shuffle(victims)
    moments = sorted(_draw(rng, events) for _ in victims)
    faults = [Fault(at, victim, _draw_point(rng, victim)) for at, victim in zip(moments, victims, strict=True)]
    for number in range(kills // KILLS_PER_PAUSE):
        seconds = LONG_PAUSE if number % 4 < 2 else SHORT_PAUSE
        faults.append(Fault(_draw(rng, events), PAUSED[number % 2], pause_seconds=seconds))
    return Plan(seed, events, tuple(sorted(faults, key=lambda one: one.at)), _draw_weathers(rng, events))


def make_mutated_plan(
    seed: int,
    *,
    events: int,
    kills: Sequence[tuple[str, str]],
    weather: Mapping[str, Any],
    scenarios: tuple[str, ...] = (),
) -> Plan:
    """Return a plan with these kills, evenly spread, and one weather."""
    faults = tuple(
        Fault(events * (number + 1) // (len(kills) + 1), victim, point) for number, (victim, point) in enumerate(kills)
    )
    return Plan(seed, events, faults, (Weather(0, {**ALWAYS, "webhook_loss": 0.0, **weather}),), scenarios)


def _draw(rng: random.Random, events: int) -> int:
    return int(events * rng.uniform(EDGE, 1 - EDGE))


def _draw_point(rng: random.Random, victim: str) -> str:
    """Half of the kills of a service that has named points are at one of them."""
    points = POINTS.get(victim, ())
    return rng.choice(points) if points and rng.random() < 0.5 else ""


def _draw_weathers(rng: random.Random, events: int) -> tuple[Weather, ...]:
    usual = {"latency_before_ms": 0.0, "latency_after_ms": 0.0, **ALWAYS}
    return tuple(Weather(at, {**usual, **rng.choice(WEATHERS)}) for at in range(0, events, WEATHERS_APART))
