"""Stripe's errors, with the bodies and headers that its clients tell them apart by."""

from __future__ import annotations

from simulator.shapes import State


class ApiError(Exception):
    """A request that Stripe refuses."""

    def __init__(
        self, status: int, message: str, *, kind: str = "invalid_request_error", code: str | None = None,
        param: str | None = None, headers: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        error: State = {"message": message, "type": kind}
        if code is not None:
            error |= {"code": code, "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"}
        if param is not None:
            error["param"] = param
        self.error = error


def no_such(resource: str, object_id: str, *, param: str = "id", status: int = 404) -> ApiError:
    """An id that is not there: 404 as the address, 400 as a parameter."""
    name = resource.rpartition(".")[2]
    return ApiError(status, f"No such {name}: '{object_id}'", code="resource_missing", param=param)


def unknown_url(method: str, path: str) -> ApiError:
    """An address that Stripe does not have."""
    return ApiError(
        404,
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs "
        "or we can help at https://support.stripe.com/.",
    )


def bad_parameter(message: str, param: str, code: str | None = None) -> ApiError:
    """A parameter that Stripe does not take."""
    return ApiError(400, message, param=param, code=code)


def no_key() -> ApiError:
    """A request without a key."""
    return ApiError(
        401,
        "You did not provide an API key. You need to provide your API key in the Authorization header, "
        "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
    )


def invalid_key(secret: str) -> ApiError:
    """A key that Stripe does not know."""
    return ApiError(401, f"Invalid API Key provided: {masked(secret)}")


def expired_key(secret: str) -> ApiError:
    """A key that was rotated or has expired."""
    return ApiError(401, f"Expired API Key provided: {masked(secret)}", code="api_key_expired")


def address_not_allowed() -> ApiError:
    """A key that may only be used from other addresses."""
    return ApiError(401, "The API key provided does not allow requests from your IP address.")


def missing_permission(secret: str, account: str, permission: str) -> ApiError:
    """A restricted key without what the endpoint asks for."""
    return ApiError(
        403,
        f"The provided key '{masked(secret)}' does not have the required permissions for this endpoint on "
        f"account '{account}'. Having the '{permission}' permission would allow this request to continue.",
    )


def no_access_to_account(secret: str, account: str) -> ApiError:
    """A `Stripe-Account` that is not connected to this one."""
    return ApiError(
        403,
        f"The provided key '{masked(secret)}' does not have access to account '{account}' (or that account "
        "does not exist). Application access may have been revoked.",
        code="account_invalid",
    )


def rate_limited(reason: str) -> ApiError:
    """Too many requests; `reason` is what the header says."""
    return ApiError(
        429,
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": reason},
    )


def lock_timeout() -> ApiError:
    """An object that another request holds: 429 without a reason."""
    return ApiError(
        429,
        "This object cannot be accessed right now because another API request or Stripe process is currently "
        "accessing it. If you see this error intermittently, retry the request.",
        code="lock_timeout",
    )


def idempotency_key_used() -> ApiError:
    """An idempotency key that came with other parameters before."""
    return ApiError(
        400,
        "Keys for idempotent requests can only be used with the same parameters they were first used with.",
        kind="idempotency_error",
    )


def request_failed() -> ApiError:
    """The parameters were valid but the request failed."""
    return ApiError(402, "Your card was declined.", kind="card_error", code="card_declined")


def server_error(status: int) -> ApiError:
    """Something broke at Stripe."""
    return ApiError(status, "An unknown error occurred", kind="api_error")


def masked(secret: str) -> str:
    """Give a key as Stripe's messages show it: its kind and its last four characters."""
    kind, underscore, rest = secret.rpartition("_")
    return f"{kind}{underscore}{'*' * max(0, len(rest) - 4)}{rest[-4:]}"
