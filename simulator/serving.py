"""Runs the simulator until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from simulator.app import SIMULATION, create_app
from simulator.config import Config

_SHUTDOWN_TIMEOUT = 1.0  # seconds that open requests have


async def serve(
    config: Config, *, host: str, port: int, url_file: Path | None, announce: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT; announce (and write) where, as one line of JSON, once it listens."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    app = create_app(config)
    gc.freeze()  # the history lives as long as the process: don't look through it again and again
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        line = json.dumps(
            {
                "url": f"http://{host}:{runner.addresses[0][1]}",
                "api_key": app[SIMULATION].first_key,
                "account": app[SIMULATION].platform.account_id,
            }
        )
        announce(line)
        if url_file is not None:
            _write(url_file, line)
        await stopped.wait()
    finally:
        await runner.cleanup()


def _write(path: Path, line: str) -> None:
    """Whoever waits for the file never sees half of it."""
    part = path.with_suffix(f"{path.suffix}.part")
    part.write_text(line + "\n", encoding="utf-8")
    part.replace(path)
