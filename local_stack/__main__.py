"""Runs Postgres and Kafka for other programs: `python -m local_stack [--home FOLDER] [--follow PID]`.

Prints one line of JSON with the addresses once both can be used, and stops at SIGINT, SIGTERM or when the
followed process ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from local_stack.stack import LocalStack
from local_stack.storage import home_folder
from local_stack.supervisor import cancelled_by_signals
from shared.errors import ConfigError

FOLLOW_INTERVAL = 1.0  # seconds


async def serve(home: Path, follow: int | None) -> None:
    """Keep the stack of `home` up until a signal comes or process `follow` is gone."""
    stack = LocalStack(home, on_progress=_say, on_event=_say)
    with cancelled_by_signals(on_second=stack.supervisor.kill) as signalled:
        try:
            async with stack:
                addresses = {
                    "database_url": stack.database_url,
                    "kafka_bootstrap_servers": stack.kafka_bootstrap_servers,
                }
                sys.stdout.write(json.dumps(addresses) + "\n")
                sys.stdout.flush()
                await _ended(follow)
        except asyncio.CancelledError:
            if not signalled.is_set():
                raise


async def _ended(process: int | None) -> None:
    # A stranger's process can set no event of ours, so we ask.
    while process is None or psutil.pid_exists(process):  # noqa: ASYNC110
        await asyncio.sleep(FOLLOW_INTERVAL)


def _say(what: object) -> None:
    sys.stderr.write(f"{what}\n")


def main() -> None:
    """Read the command line; exit 2 with a sentence when the stack can't be had."""
    parser = argparse.ArgumentParser(prog="python -m local_stack", description=__doc__)
    parser.add_argument("--home", type=Path, default=home_folder(os.environ, Path.cwd()))
    parser.add_argument("--follow", type=int, metavar="PID")
    arguments = parser.parse_args()
    try:
        asyncio.run(serve(arguments.home.resolve(), arguments.follow))
    except ConfigError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
