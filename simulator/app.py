"""The simulator as an aiohttp application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from aiohttp import web

from simulator.api import StripeApi
from simulator.config import Config
from simulator.control import Control, explain_errors
from simulator.simulation import Simulation

SIMULATION: web.AppKey[Simulation] = web.AppKey("simulation", Simulation)


def create_app(config: Config, *, now: Callable[[], float] = time.time) -> web.Application:
    """Build the whole account, which takes a moment for many objects, and the app that serves it.

    `now` gives Unix seconds. The business changes by itself only while the app runs.
    """
    simulation = Simulation(config, now=now)
    api = StripeApi(simulation)
    app = web.Application(middlewares=[explain_errors])
    app[SIMULATION] = simulation
    app.add_routes(Control(simulation, api).routes())
    app.router.add_route("*", "/v1/{path:.*}", api.handle)
    app.router.add_route("*", "/{path:.*}", api.refuse)
    app.cleanup_ctx.append(_run_simulation)
    return app


async def _run_simulation(app: web.Application) -> AsyncIterator[None]:
    simulation = app[SIMULATION]
    await simulation.deliveries.start()
    life = asyncio.create_task(simulation.business.live())
    life.add_done_callback(_report_death)
    yield
    life.cancel()
    with suppress(asyncio.CancelledError):
        await life
    await simulation.deliveries.stop()


def _report_death(life: asyncio.Task[None]) -> None:
    """A business that stops by itself would make every test wait for changes that never come."""
    if not life.cancelled() and (error := life.exception()) is not None:
        life.get_loop().call_exception_handler({"message": "The simulated business died.", "exception": error})
