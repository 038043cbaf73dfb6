"""Asks a person: for consent before something is destroyed, for a choice, for a secret.

All that is said here goes to standard error, so that standard output holds results alone.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from getpass import getpass

import typer
from rich.text import Text

from services.connection_api.life.confirmation import is_confirmed
from services.console.screen import ERRORS, plain
from services.console.task import DeclinedError, WrongUseError


def tell(sentence: str | Text) -> None:
    """Say what a person has to know before they answer."""
    ERRORS.print(sentence if isinstance(sentence, Text) else Text(plain(sentence)))


def consent(question: str, *, yes: bool) -> None:
    """Return if `--yes` was given or a person agrees; raise `DeclinedError`, or `WrongUseError` without a terminal."""
    if not yes and not ask(question):
        raise DeclinedError


def consent_by_name(question: str, accepted: Sequence[str], *, yes: bool) -> None:
    """Return if `--yes` was given or a person types one of the names; raise as `consent` does."""
    if yes:
        return
    _require_terminal()
    with _interruptible():
        typed: str = typer.prompt(plain(question), err=True, default="", show_default=False)
    if not is_confirmed(typed, accepted):
        raise DeclinedError("That is not the account's name. Nothing was changed.")


def ask(question: str) -> bool:
    """Return a person's answer, which is no unless they say yes; raise `WrongUseError` without a terminal."""
    _require_terminal()
    with _interruptible():
        return typer.confirm(plain(question), err=True)


def read_secret(prompt: str, *, what: str) -> str:
    """Return a secret from a prompt that doesn't show it, or from standard input; raise `WrongUseError` for none."""
    with _interruptible():
        # Not the prompt of typer: that one turns the echo off after it has asked, which shows a key that comes at once.
        secret = getpass(f"{prompt}: ") if sys.stdin.isatty() else sys.stdin.read()
    if not secret.strip():
        raise WrongUseError(f"There is no {what}: paste it at the prompt, or write it to standard input.")
    return secret.strip()


def can_ask() -> bool:
    """Tell whether there is a person to ask."""
    return sys.stdin.isatty()


def _require_terminal() -> None:
    if not can_ask():
        raise WrongUseError("This needs your consent, and there is no terminal to ask for it: give --yes.")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end a wait for input: the event loop, which listens to it otherwise, stands still meanwhile."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except (KeyboardInterrupt, EOFError, typer.Abort):
        tell("\nNothing was changed.")
        raise typer.Abort from None
    finally:
        signal.signal(signal.SIGINT, before)
