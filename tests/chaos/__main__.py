"""The ledger harness: changes and faults by a seed go on together, then every row is compared with Stripe's truth.

Everything runs on this machine: Postgres, Kafka, the four services and a simulated Stripe. The exit code is 1 when a
row was lost, written twice, stale or brought back, or when a mutation was not found.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from local_stack.supervisor import cancelled_by_signals
from services.console.running import home_folder
from shared.errors import AppError
from tests.chaos.figures import Figures
from tests.chaos.mutations import MUTATIONS
from tests.chaos.plan import make_mutated_plan, make_plan
from tests.chaos.run import Run
from tests.chaos.stage import StageError, staged

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
SKEW = 2.0  # seconds that Stripe's clock is ahead, or behind with an odd seed
LINES_APART = 10.0  # seconds between two lines of progress where nobody looks


class Progress:
    """One line that tells how far it is: replaced on a terminal, written now and then elsewhere."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def say(self, text: str) -> None:
        """Show a state."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{text}\x1b[K")
        elif time.monotonic() - self._last > LINES_APART:
            self._last = time.monotonic()
            sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")


async def run_seeds(home: Path, arguments: argparse.Namespace, progress: Progress) -> bool:
    """Run the seeds one after the other on one stage; tell whether all were right."""
    is_right = True
    first = arguments.seed
    skew = -SKEW if first % 2 else SKEW
    async with staged(
        home, seed=first, objects=arguments.objects, clock_skew=skew, is_healing=arguments.healing
    ) as stage:
        for seed in range(first, first + arguments.seeds):
            plan = make_plan(seed, events=arguments.events, kills=arguments.kills)
            figures = await Run(stage, plan, rate=arguments.rate, say=progress.say).carry_out()
            show(figures, arguments, progress)
            is_right &= figures.is_right
    return is_right


async def run_mutation(home: Path, name: str, arguments: argparse.Namespace, progress: Progress) -> Figures:
    """Run the product with one of its rules switched off."""
    mutation = MUTATIONS[name]
    plan = make_mutated_plan(
        arguments.seed,
        events=arguments.events,
        kills=mutation.kills,
        weather=mutation.weather,
        scenarios=mutation.scenarios,
    )
    async with staged(home, seed=arguments.seed, objects=arguments.objects, clock_skew=0.0, mutation=name) as stage:
        return await Run(stage, plan, rate=arguments.rate, say=progress.say).carry_out()


async def run_mutations(home: Path, arguments: argparse.Namespace, progress: Progress) -> bool:
    """Switch each rule off in turn; tell whether all was found."""
    found_all = True
    for name in arguments.mutation or MUTATIONS:
        figures = await run_mutation(home, name, arguments, progress)
        is_found = any(figures.counts[figure] for figure in MUTATIONS[name].shows_as)
        found_all &= is_found
        progress.clear()
        counts = ", ".join(f"{count} {figure}" for figure, count in figures.counts.items())
        write(f"{'found    ' if is_found else 'NOT FOUND'}  {name}: {counts} ({figures.events:,} events)")
        if arguments.json:
            write(figures.as_json())
    return found_all


def show(figures: Figures, arguments: argparse.Namespace, progress: Progress) -> None:
    """Print the figures of a run."""
    progress.clear()
    for line in [figures.as_json()] if arguments.json else figures.lines():
        write(line)


def write(line: str) -> None:
    """Print a line of the result."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000, help="changes of the business (%(default)s)")
    parser.add_argument("--kills", type=int, default=24, help="processes that are killed (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what the plan follows from (%(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="so many seeds, one after the other (%(default)s)")
    parser.add_argument("--rate", type=float, default=200.0, help="changes a second, at most (%(default)s)")
    parser.add_argument("--objects", type=int, default=4000, help="objects of the account's history (%(default)s)")
    parser.add_argument("--healing", action="store_true", help="let the product compare with Stripe when it wants to")
    parser.add_argument("--mutations", action="store_true", help="switch rules off, one at a time: each must be found")
    parser.add_argument("--mutation", action="append", choices=sorted(MUTATIONS), help="this rule alone; repeatable")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, a line for each run")
    return parser.parse_args(words)


async def main(arguments: argparse.Namespace) -> int:
    """Run, and return the exit code."""
    progress = Progress()
    home = home_folder(os.environ, "chaos")
    carry_out = run_mutations if arguments.mutations or arguments.mutation else run_seeds
    with cancelled_by_signals(lambda: os._exit(INTERRUPTED)) as signalled:
        try:
            return 0 if await carry_out(home, arguments, progress) else FAILED
        except asyncio.CancelledError:
            if not signalled.is_set():
                raise
            return INTERRUPTED
        except (StageError, AppError) as error:
            progress.clear()
            sys.stderr.write(f"✗ {error} Logs: {home / 'logs'}\n")
            return WRONG_USE
        finally:
            progress.clear()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main(parse(sys.argv[1:]))))
