"""Runs one command: an error is a sentence, and Ctrl-C ends everything in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

import typer

from local_stack.supervisor import cancelled_by_signals
from services.console.screen import ERRORS
from shared.errors import AppError, ConfigError

FAILED = 1  # exit code: it was tried and did not succeed
WRONG_USE = 2  # exit code: a setting or an argument is wrong
INTERRUPTED = 130  # exit code: ended by Ctrl-C


def main_task(task: Coroutine[Any, Any, int]) -> None:
    """Run a command and exit with its code."""
    try:
        code = asyncio.run(_until_signalled(task))
    except ConfigError as error:
        ERRORS.print(f"[red]✗[/] {error.message}")
        code = WRONG_USE
    except AppError as error:
        ERRORS.print(f"[red]✗[/] {error.message}")
        code = FAILED
    raise typer.Exit(code)


async def _until_signalled(task: Coroutine[Any, Any, int]) -> int:
    with cancelled_by_signals(lambda: os._exit(INTERRUPTED)) as signalled:
        try:
            return await task
        except asyncio.CancelledError:
            if not signalled.is_set():
                raise
            return INTERRUPTED
