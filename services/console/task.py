"""Runs one command: an error is a sentence, and Ctrl-C ends everything in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import typer

from local_stack.supervisor import cancelled_by_signals
from services.console.client import ApiClient, connected, find_api
from services.console.running import homes
from services.console.screen import show_error
from shared.errors import AppError, ConfigError

FAILED = 1  # exit code: it was tried and did not succeed, or it was refused
WRONG_USE = 2  # exit code: a setting or an argument is wrong
INTERRUPTED = 130  # exit code: ended by Ctrl-C


class WrongUseError(ConfigError):
    """An argument is missing or can't be used."""

    code = "wrong_use"


class DeclinedError(AppError):
    """Nothing was changed."""

    code = "declined"


def with_api(act: Callable[[ApiClient], Awaitable[int | None]], *, as_json: bool = False) -> None:
    """Run a command that speaks to the API, and exit with the code that it returns, or 0."""

    async def run() -> int:
        async with connected(*find_api(os.environ, homes(os.environ))) as api:
            return await act(api) or 0

    main_task(run(), as_json=as_json)


def main_task(task: Coroutine[Any, Any, int], *, as_json: bool = False) -> None:
    """Run a command and exit with its code; with `as_json`, an error is a problem document."""
    try:
        code = asyncio.run(_until_signalled(task))
    except typer.Abort:
        code = INTERRUPTED
    except AppError as error:
        show_error(error, as_json=as_json)
        code = WRONG_USE if isinstance(error, ConfigError) else FAILED
    raise typer.Exit(code)


async def _until_signalled(task: Coroutine[Any, Any, int]) -> int:
    with cancelled_by_signals(lambda: os._exit(INTERRUPTED)) as signalled:
        try:
            return await task
        except asyncio.CancelledError:
            if not signalled.is_set():
                raise
            return INTERRUPTED
