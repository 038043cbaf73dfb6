"""Structured logs: an event's name and key-values, with everything that looks like a secret masked."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

SECRET = re.compile(
    r"\b((?:rk|sk|pk)_(?:live|test)_|whsec_|tst_|tls_|(?:link|ses)_(?=[a-z2-7]{39}))[A-Za-z0-9_]+"
    r"|(?<=://)([^:/@\s]*):\S+(?=@)"
)


def mask(text: str) -> str:
    """Return `text` with Stripe keys, signing secrets, tokens and the passwords of URLs masked."""
    return SECRET.sub(lambda match: f"{match[1] or (match[2] + ':')}***", text)


def _mask_value(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: _mask_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mask_value(inner) for inner in value]
    return value if isinstance(value, int | float | bool | None) else mask(str(value))


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask every value of a log line; runs after tracebacks are rendered, so that they are masked too."""
    return {key: _mask_value(value) for key, value in event.items()}


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
        structlog.processors.format_exc_info,
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
