"""The codes with which the REST API refuses, found among the classes of errors: what is declared is listed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared.crypto import SecretUnreadableError
from shared.destinations import DestinationUnreadableError
from shared.errors import AppError, RejectedError, SignatureError, TransientError

ANSWERED = (RejectedError, TransientError, SecretUnreadableError, DestinationUnreadableError)
OURS = ("shared.", "services.connection_api.")
CONSUMERS = "shared.consumers"  # nobody who calls the API meets an error of theirs


def meanings(errors: Iterable[type[AppError]]) -> Iterator[tuple[str, int, str]]:
    """Yield code, status and meaning, by status and code; a code that errors share has the first one's meaning."""
    by_code: dict[tuple[int, str], str] = {}
    for error in errors:
        by_code.setdefault((error.status, error.code), (error.__doc__ or "").strip().splitlines()[0])
    return ((code, status, meaning) for (status, code), meaning in sorted(by_code.items()))


def answered_errors() -> Iterator[type[AppError]]:
    """Yield the errors that a caller of the REST API can get; the first is a bug."""
    yield AppError
    for root in ANSWERED:
        yield from (one for one in _with_subclasses(root) if _is_answered(one))


def _is_answered(error: type[AppError]) -> bool:
    return error.__module__.startswith(OURS) and error.__module__ != CONSUMERS


def _with_subclasses(error: type[AppError]) -> Iterator[type[AppError]]:
    if error is SignatureError:  # the webhooks' alone
        return
    yield error
    for one in error.__subclasses__():
        yield from _with_subclasses(one)
