"""What a key may do: one cheap list of every permission, in parallel, and the account that it belongs to.

Stripe tells a restricted key nothing about itself, so only the answers to calls count.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from shared.catalogue import BY_NAME, WEBHOOK_PERMISSION, Permission, Resource, permission_of, permissions
from shared.errors import (
    KeyInvalidError,
    KeyRefusedError,
    PayloadError,
    PermissionMissingError,
    ResourceUnavailableError,
    StripeNotFoundError,
    StripeRefusedError,
)
from shared.stripe_api import StripeApi
from shared.stripe_refusals import refusal_of_key

PARALLEL = 8  # calls at a time
SPACING = 0.04  # seconds between the starts of two calls: Stripe's limit is 25/s in test mode
ACCOUNT_ID = re.compile(r"acct_[A-Za-z0-9]+")
MOST_NAMED = 3  # permissions in a sentence; the list has them all
ADVICE = (
    "Double-check your restricted key in the Stripe Dashboard: All Core resources, All Connect resources and All "
    "Billing resources need Read, Webhook Endpoints needs Write."
)


class KeyExpiredError(KeyRefusedError):
    """API Key is invalid: it has expired."""

    code = "api_key_expired"


class KeyAddressError(KeyRefusedError):
    """This key may not be used from this machine's IP address."""

    code = "api_key_ip_restricted"


class KeyPermissionsError(KeyRefusedError):
    """Missing permissions."""

    code = "missing_permissions"


class KeyAccountError(KeyRefusedError):
    """This key belongs to another Stripe account."""

    code = "api_key_other_account"


#: By the meaning of the refusal.
KEY_ERRORS: Mapping[str, type[KeyRefusedError]] = {
    one.code: one for one in (KeyRefusedError, KeyExpiredError, KeyAddressError)
}


class Grant(StrEnum):
    """What a probe said of a permission."""

    GRANTED = "granted"
    MISSING = "missing"
    UNAVAILABLE = "unavailable"  # the account has no such product
    REFUSED = "refused"  # for another reason, in Stripe's words


@dataclass(frozen=True, slots=True)
class Checked:
    """A permission and what the key has of it."""

    permission: Permission
    grant: Grant
    slug: str  # as Stripe named it, which may differ from the catalogue's guess
    words: str | None = None  # Stripe's, where it refused

    @property
    def is_blocking(self) -> bool:
        """Whether the key is useless for want of it; a guessed permission is no reason to refuse a key."""
        return self.grant is Grant.MISSING and self.permission.required and self.permission.is_certain


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """What is known of a key that Stripe accepts."""

    account_id: str
    account_name: str
    checked: tuple[Checked, ...]
    is_account_certain: bool = True  # whether Stripe itself told the account

    @property
    def blocking(self) -> tuple[Checked, ...]:
        """What the key lacks and can't do without."""
        return tuple(one for one in self.checked if one.is_blocking)

    @property
    def missing(self) -> tuple[Checked, ...]:
        """What the key lacks, needed or not."""
        return tuple(one for one in self.checked if one.grant is Grant.MISSING)

    @property
    def unreadable(self) -> frozenset[str]:
        """The names of the resources that the key may not read."""
        return frozenset(name for one in self.missing for name in one.permission.resources)


class _Profile(msgspec.Struct):
    name: str | None = None


class _Dashboard(msgspec.Struct):
    display_name: str | None = None


class _Settings(msgspec.Struct):
    dashboard: _Dashboard | None = None


class _Account(msgspec.Struct):
    id: str
    business_profile: _Profile | None = None
    settings: _Settings | None = None


async def check_key(
    api: StripeApi,
    resources: Sequence[Resource],
    *,
    account_id: str | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> KeyCheck:
    """Probe the key of `api` for everything that `resources` need; a dead key costs one call.

    Raises `KeyPermissionsError` naming every required permission that is missing, and what `probe_key` raises.
    Write access to webhook endpoints is proven later, by making ours.
    """
    check = await probe_key(api, resources, account_id=account_id, sleep=sleep)
    if check.blocking:
        raise KeyPermissionsError(describe_missing(check.blocking), field="api_key")
    return check


async def probe_key(
    api: StripeApi,
    resources: Sequence[Resource],
    *,
    account_id: str | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> KeyCheck:
    """Tell what the key of `api` may do, whether it suffices or not.

    `account_id` is taken where Stripe does not tell the account, and compared where it does.
    Raises a `KeyRefusedError` with the reason and the fix when Stripe refuses the key or it is of another account,
    `PayloadError` when nothing tells the account, and `StripeUnavailableError`.
    """
    first, *rest = (permission for permission in permissions(resources) if permission is not WEBHOOK_PERMISSION)
    try:
        checked = [*await _probe(api, first), *await _probe_all(api, rest, sleep)]
        found_id, name = await _account(api)
    except KeyInvalidError as error:
        raise explain_invalid(error) from error
    # A key that lacks something is told so first: whoever mends it may well grant what tells the account too.
    if found_id is None and account_id is None and any(one.is_blocking for one in checked):
        raise KeyPermissionsError(describe_missing([one for one in checked if one.is_blocking]), field="api_key")
    known_id = _agree(found_id, account_id)
    return KeyCheck(known_id, name or known_id, tuple(checked), is_account_certain=found_id is not None)


def explain_invalid(error: KeyInvalidError) -> KeyRefusedError:
    """Return why Stripe refused the key, in words that say what to do."""
    refusal = refusal_of_key(error.message)
    return KEY_ERRORS[refusal.meaning](refusal.says, field="api_key")


def describe_missing(checked: Sequence[Checked]) -> str:
    """Return a sentence that names each permission by its row in the Stripe Dashboard and by its slug."""
    first, more = checked[:MOST_NAMED], len(checked) - MOST_NAMED
    names = ", ".join(f"{quoted(one.permission.toggle)} ({one.slug})" for one in first)
    return f"Missing permissions: {names}{f' and {more} more' if more > 0 else ''}. {ADVICE}"


def quoted(toggle: str) -> str:
    """Return the name of a row so that one with a comma in it reads as one."""
    return f"“{toggle}”" if "," in toggle else toggle


def describe_missing_webhooks() -> str:
    """Return the sentence for a key that may not make our webhook endpoint."""
    return describe_missing([Checked(WEBHOOK_PERMISSION, Grant.MISSING, WEBHOOK_PERMISSION.slug)])


async def _probe_all(
    api: StripeApi, wanted: Sequence[Permission], sleep: Callable[[float], Awaitable[None]]
) -> list[Checked]:
    """Return the answers in the order of what is wanted; the first failure ends the others."""
    turns = asyncio.Semaphore(PARALLEL)

    async def probe(number: int, permission: Permission) -> list[Checked]:
        await sleep(number * SPACING)
        async with turns:
            return await _probe(api, permission)

    try:
        async with asyncio.TaskGroup() as tasks:
            probes = [tasks.create_task(probe(*numbered)) for numbered in enumerate(wanted)]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [one for task in probes for one in task.result()]


async def _probe(api: StripeApi, permission: Permission) -> list[Checked]:
    """Ask for what needs the permission; for a list too, where the first that needs it is none.

    Every account may read itself, but not every key lists others, and not every account is a platform that has some.
    """
    first, *others = permission.resources or (None,)
    checked = [await _ask(api, permission, first)]
    if first is not None and BY_NAME[first].is_singleton:
        listed = [await _ask(api, permission_of(name), name) for name in others[:1] if name]
        checked += [one for one in listed if one.grant in (Grant.MISSING, Grant.REFUSED)]
    return checked


async def _ask(api: StripeApi, permission: Permission, resource: str | None) -> Checked:
    try:
        await _read_one(api, resource)
    except PermissionMissingError as error:
        return Checked(permission, Grant.MISSING, error.permission or permission.slug)
    except KeyInvalidError:
        raise
    except (ResourceUnavailableError, StripeNotFoundError):
        return Checked(permission, Grant.UNAVAILABLE, permission.slug)
    except StripeRefusedError as error:
        return Checked(permission, Grant.REFUSED, permission.slug, error.message)
    return Checked(permission, Grant.GRANTED, permission.slug)


async def _read_one(api: StripeApi, name: str | None) -> None:
    if name is None:
        await api.list_page("/v1/events", [("limit", "1")])
        return
    resource = BY_NAME[name]
    if resource.is_singleton:
        await api.retrieve(resource.list_path)
    else:
        path, parameters = resource.first_list
        await api.list_page(path, [("limit", "1"), *parameters])


async def _account(api: StripeApi) -> tuple[str | None, str | None]:
    """Return id and name of the account; a key that may not read it is good all the same."""
    try:
        account = msgspec.json.decode((await api.retrieve("/v1/account")).body, type=_Account)
    except KeyInvalidError:
        raise
    except StripeRefusedError as error:
        named = ACCOUNT_ID.search(error.message)
        return (named[0] if named else None), None
    display = account.settings.dashboard.display_name if account.settings and account.settings.dashboard else None
    business = account.business_profile.name if account.business_profile else None
    return account.id, next((name for name in (display, business) if name and name.strip()), None)


def _agree(found: str | None, given: str | None) -> str:
    """Return the account's id; raise `KeyAccountError` or `PayloadError`."""
    if found and given and found != given:
        raise KeyAccountError(f"This key belongs to the account {found}, not to {given}.", field="api_key")
    if not (found or given):
        raise PayloadError(
            "Stripe does not tell this key which account it belongs to. Give the account's id (acct_…), which stands "
            "in the Stripe Dashboard under Settings, Account details.",
            field="account_id",
        )
    return found or given or ""
