"""Structured logs: an event's name and key-values, with everything that looks like a secret masked."""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog

from shared.postgres_words import tell

SECRET = re.compile(
    r"\b((?:rk|sk|pk)_(?:live|test)_|whsec_|tst_|tls_|(?:link|ses)_(?=[a-z2-7]{39}))[A-Za-z0-9_]+"
    r"|(?<=://)([^:/@\s]*):\S+(?=@)"
)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # C0, DEL and C1
OF_SEVERAL_LINES = {"exception"}  # what we render ourselves
KINDS_KNOWN = 1000

MOST_CAUSES = 20  # of one error that are told


def mask(text: str) -> str:
    """Return `text` with Stripe keys, signing secrets, tokens and the passwords of URLs masked."""
    return SECRET.sub(lambda match: f"{match[1] or (match[2] + ':')}***", text)


def make_visible(text: str, *, keep: str = "") -> str:
    """Return `text` with control characters, but those to `keep`, as escapes: none reaches a terminal."""
    return CONTROL.sub(lambda match: match[0] if match[0] in keep else f"\\x{ord(match[0]):02x}", text)


def render_error(error: BaseException, *, depth: int = 0) -> str:
    """Return the traceback of an error and of what led to it. Of an error of Postgres no words: they quote values."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    parts = [render_error(before, depth=depth + 1), "It led to:"] if before and depth < MOST_CAUSES else []
    parts += ["Traceback (most recent call last):", *traceback.format_tb(error.__traceback__), tell(error)]
    if isinstance(error, BaseExceptionGroup) and depth < MOST_CAUSES:
        parts += [f"One of them:\n{render_error(one, depth=depth + 1)}" for one in error.exceptions]
    return "\n".join(part.rstrip("\n") for part in parts)


def _render_exc_info(exc_info: Any) -> str:
    return render_error(exc_info[1])


def _mask_value(value: Any, *, keep: str = "") -> Any:
    if isinstance(value, str):
        return make_visible(mask(value), keep=keep)
    if isinstance(value, BaseException):
        return _mask_value(tell(value))
    if isinstance(value, Mapping):
        return {_mask_value(key): _mask_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mask_value(inner) for inner in value]
    return value if isinstance(value, int | float | bool | None) else _mask_value(str(value))


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask every value of a log line; runs after tracebacks are rendered, so that they are masked too."""
    return {key: _mask_value(value, keep="\n\t" if key in OF_SEVERAL_LINES else "") for key, value in event.items()}


class Ration:
    """Lets so many log lines of a kind pass in a minute and counts the rest: strangers must not fill the log."""

    def __init__(
        self, most: int = 30, *, per_seconds: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` counts seconds."""
        self._most = most
        self._period = per_seconds
        self._clock = clock
        self._kinds: dict[str, tuple[float, int]] = {}  # kind → when its period began, and lines since

    def take(self, kind: str) -> int | None:
        """Return how many lines of the kind were left out since the last one that passed; `None` to leave this out."""
        now = self._clock()
        began, lines = self._kinds.get(kind, (now, 0))
        unlogged = 0
        if now - began >= self._period:
            unlogged, began, lines = max(0, lines - self._most), now, 0
        if len(self._kinds) >= KINDS_KNOWN and kind not in self._kinds:
            self._kinds.clear()
        self._kinds[kind] = began, lines + 1
        return unlogged if lines < self._most else None


def configure(*, service: str, level: str, form: str) -> None:
    """Send this process's logs to standard error, as JSON lines or for a person's terminal."""
    is_json = form == "json"
    renderer = (
        structlog.processors.JSONRenderer() if is_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_render_exc_info),
        redact,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # The clients report every passing unavailability of a broker as an error; what matters is logged by us.
    for noisy in ("aiokafka", "asyncio", "aiohttp.access", "faststream"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL if noisy == "aiokafka" else logging.WARNING)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger of this process."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
