"""Every error of Tillstream, by what is to be done about it.

    AppError
    ├── ConfigError                     refuse to start; exit code 2
    ├── RejectedError                   the caller's fault: 4xx, nothing is published
    │   ├── SignatureError         400
    │   ├── PayloadError           422
    │   ├── KeyRefusedError        422
    │   ├── AuthError              401
    │   ├── ForbiddenError         403
    │   ├── NotFoundError          404
    │   ├── ConflictError          409
    │   └── TooLargeError          413
    ├── TransientError                  the same input may succeed later: wait, try again
    │   ├── StripeUnavailableError (StripeRateLimitedError, StripeAnswerError)
    │   ├── DestinationUnavailableError (DestinationBlockedError: until a person mends it)
    │   ├── KafkaUnavailableError
    │   └── DatabaseUnavailableError
    └── TerminalError                   the same input will fail again: dead letter, go on
        ├── MessageError
        ├── DestinationRejectedError
        ├── ConnectionDisabledError
        ├── ObjectUnreadableError
        └── StripeRefusedError          Stripe refused the call
            ├── KeyInvalidError         401: "API Key is invalid"
            ├── PermissionMissingError  403: "Missing permissions"
            ├── ResourceUnavailableError  400: the account has no such product (Issuing, Treasury, …)
            └── StripeNotFoundError     404, or a cursor that is gone

The docstring of a class is its default message; `code` is its stable, machine-readable name.
No message or attribute ever holds a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class AppError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        """Take a sentence for people and, where one input is to blame, that input's `field`."""
        self.message = message or (type(self).__doc__ or "").strip()
        self.field = field
        super().__init__(self.message)


class ConfigError(AppError):
    """A setting is missing or wrong."""

    code = "config"


class RejectedError(AppError):
    """The request can't be accepted."""

    code = "rejected"
    status = 400


class SignatureError(RejectedError):
    """The webhook's signature does not match any active secret of this endpoint."""

    code = "signature_invalid"


class PayloadError(RejectedError):
    """The request's content can't be used."""

    code = "payload_invalid"
    status = 422


class KeyRefusedError(PayloadError):
    """API Key is invalid."""

    code = "api_key_invalid"


class AuthError(RejectedError):
    """Sign in first: this needs a valid token or session."""

    code = "unauthenticated"
    status = 401


class ForbiddenError(RejectedError):
    """This token's scope does not allow that."""

    code = "forbidden"
    status = 403


class NotFoundError(RejectedError):
    """There is nothing with this id."""

    code = "not_found"
    status = 404


class ConflictError(RejectedError):
    """This clashes with something that exists."""

    code = "conflict"
    status = 409


class TooLargeError(RejectedError):
    """The body is larger than is accepted."""

    code = "too_large"
    status = 413


class TransientError(AppError):
    """Temporarily unavailable; the same request may succeed later."""

    code = "unavailable"
    status = 503

    def __init__(self, message: str | None = None, *, retry_after_seconds: float | None = None) -> None:
        """Take a sentence and, where the other side named one, the pause that it asks for."""
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class StripeUnavailableError(TransientError):
    """Stripe did not answer, or answered with an error of its own."""

    code = "stripe_unavailable"


class StripeRateLimitedError(StripeUnavailableError):
    """Stripe limits the rate of calls at the moment."""

    code = "stripe_rate_limited"


class StripeAnswerError(StripeUnavailableError):
    """Stripe's answer is not what was asked for."""

    code = "stripe_answer_unreadable"


class DestinationUnavailableError(TransientError):
    """The destination does not answer."""

    code = "destination_unavailable"


@dataclass(frozen=True, slots=True)
class Block:
    """What keeps rows from a destination, or from one of its tables, until a person mends it."""

    code: str
    cause: str
    fix: str | None
    part: str = ""  # of the destination: a table of a resource; else all of it


class DestinationBlockedError(DestinationUnavailableError):
    """The destination refuses until a person mends it."""

    code = "destination_blocked"

    def __init__(self, *blocks: Block) -> None:
        """Take what is to be mended, at least one thing."""
        first = blocks[0]
        super().__init__(f"{first.cause} {first.fix}" if first.fix else first.cause)
        self.blocks = blocks

    @property
    def tables(self) -> frozenset[str]:
        """The tables that are blocked while all others can be written; empty when none can."""
        parts = frozenset(block.part for block in self.blocks)
        return frozenset() if "" in parts else parts


class KafkaUnavailableError(TransientError):
    """Kafka does not acknowledge at the moment."""

    code = "kafka_unavailable"


class DatabaseUnavailableError(TransientError):
    """Tillstream's own database does not answer."""

    code = "database_unavailable"


class TerminalError(AppError):
    """The same input will fail again."""

    code = "terminal"


class MessageError(TerminalError):
    """The message does not parse, or is of an unknown version."""

    code = "message_invalid"


class DestinationRejectedError(TerminalError):
    """The destination refused the record."""

    code = "destination_rejected"


class ConnectionDisabledError(TerminalError):
    """The connection was removed or is being removed."""

    code = "connection_disabled"


class ObjectUnreadableError(TerminalError):
    """Stripe's object can't be read."""

    code = "object_unreadable"

    def __init__(self, message: str | None = None, *, body: bytes = b"") -> None:
        """Take a sentence and the object as it came."""
        super().__init__(message)
        self.body = body


class StripeRefusedError(TerminalError):
    """Stripe refused the call."""

    code = "stripe_refused"


class KeyInvalidError(StripeRefusedError):
    """API Key is invalid."""

    code = "api_key_invalid"


class PermissionMissingError(StripeRefusedError):
    """Missing permissions."""

    code = "missing_permissions"

    def __init__(self, message: str | None = None, *, permission: str | None = None) -> None:
        """Take a sentence and the `rak_…` slug that Stripe named, if it named one."""
        super().__init__(message)
        self.permission = permission


class ResourceUnavailableError(StripeRefusedError):
    """This is not available on this Stripe account."""

    code = "resource_unavailable"


class StripeNotFoundError(StripeRefusedError):
    """Stripe has no such object."""

    code = "stripe_not_found"
    stamp: int | None = None  # Stripe's clock, in seconds: it was gone then
