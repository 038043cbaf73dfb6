"""`serve` runs a simulator; the other commands talk to a running one through its control API."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from simulator.config import Config, Faults
from simulator.serving import serve as run_server

cli = typer.Typer(no_args_is_help=True, help="A Stripe that runs on this machine.")


@cli.command()
def serve(
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 picks a free one.")] = 0,
    seed: int = 7,
    objects: Annotated[int, typer.Option(min=1, help="How many objects the account's history makes.")] = 20_000,
    history_days: Annotated[int, typer.Option(min=1)] = 730,
    rate: Annotated[float, typer.Option(min=0, help="Changes a second from the start.")] = 0.0,
    live: Annotated[bool, typer.Option(help="Be a live account instead of a test one.")] = False,
    latency_ms: Annotated[float, typer.Option(min=0, help="Before every answer.")] = 0.0,
    rate_limits: Annotated[bool, typer.Option(help="Refuse requests above Stripe's limits.")] = True,
    url_file: Annotated[Path | None, typer.Option(help="Where to write the address, as JSON.")] = None,
) -> None:
    """Run a simulator until it is stopped; its address and key are printed as one line of JSON."""
    config = Config(
        seed=seed,
        objects=objects,
        history_days=history_days,
        changes_per_second=rate,
        livemode=live,
        rate_limits=rate_limits,
        faults=Faults(latency_before_ms=latency_ms),
    )
    asyncio.run(run_server(config, host=host, port=port, url_file=url_file, announce=typer.echo))
