"""Follows events as they reach their destinations."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Annotated

import typer

from services.console.client import connected, find_api
from services.console.connections import homes
from services.console.screen import OUT, moment
from services.console.task import main_task

POLL_INTERVAL = 0.5  # seconds
REMEMBERED = 1000  # events, to show each once


def listen(
    connection: Annotated[str | None, typer.Option(help="Id of a connection; all of them, if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Follow live events until Ctrl-C."""
    main_task(_follow({"connection_id": connection} if connection else {}, as_json=as_json))


async def _follow(query: dict[str, str], *, as_json: bool) -> int:
    seen: dict[str, None] = {}
    async with connected(*find_api(os.environ, homes(os.environ))) as api:
        while True:
            page = await api.get("/v1/events", limit=100, **query)
            for event in reversed(page["data"]):
                if event["event_id"] not in seen:
                    seen[event["event_id"]] = None
                    _print(event, as_json=as_json)
            for old in list(seen)[:-REMEMBERED]:
                del seen[old]
            await asyncio.sleep(POLL_INTERVAL)


def _print(event: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(event))
    else:
        columns = (
            moment(event["written_at"])[-8:],
            f"{event['type']:<36}",
            f"{event['object_id'] or '':<30}",
            event["outcome"],
        )
        OUT.print(" ".join(columns), soft_wrap=True)
