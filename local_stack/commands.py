"""Runs a program to its end while the event loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from local_stack.children import User, launch_command
from local_stack.diagnosis import find_reason
from shared.errors import ConfigError


async def run(argv: Sequence[str], *, user: User | None = None, task: str) -> str:
    """Run `argv` as `user` and return what it printed; it is killed if we are cancelled.

    Raises ConfigError that names the `task` and the reason when it fails.
    """
    process = await asyncio.create_subprocess_exec(
        *launch_command(argv, user=user),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    text = output.decode(errors="replace")
    if process.returncode:
        raise ConfigError(f"{task} failed: {find_reason(text)}.")
    return text
