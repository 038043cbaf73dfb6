"""What a key may do: one cheap list of every permission, in parallel, and the account that it belongs to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from shared.catalogue import BY_NAME, Permission, Resource, permissions
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

PARALLEL = 5  # calls at a time: at 200 ms a call this is Stripe's limit of 25/s in test mode
ACCOUNT_ID = re.compile(r"acct_[A-Za-z0-9]+")
ADVICE = (
    "Double-check your restricted key in the Stripe Dashboard: All Core resources, All Connect resources and All "
    "Billing resources need Read, Webhook Endpoints needs Write."
)


class Grant(StrEnum):
    """What a probe said of a permission."""

    GRANTED = "granted"
    MISSING = "missing"
    UNAVAILABLE = "unavailable"  # the account has no such product


@dataclass(frozen=True, slots=True)
class Checked:
    """A permission and what the key has of it."""

    permission: Permission
    grant: Grant


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """What is known of a key that Stripe accepts."""

    account_id: str
    account_name: str
    checked: tuple[Checked, ...]

    @property
    def missing(self) -> tuple[Permission, ...]:
        """What the key lacks."""
        return tuple(one.permission for one in self.checked if one.grant is Grant.MISSING)


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


async def check_key(api: StripeApi, resources: Sequence[Resource], *, account_id: str | None = None) -> KeyCheck:
    """Probe the key of `api` for everything that `resources` need.

    Raises `KeyRefusedError` with Stripe's reason, "Missing permissions" with their names when a required one is
    missing, `PayloadError` when the account can't be told and `account_id` is not given, and
    `StripeUnavailableError`. Write access to webhook endpoints is proven later, by making ours.
    """
    turns = asyncio.Semaphore(PARALLEL)
    wanted = [permission for permission in permissions(resources) if permission.slug != "rak_webhook_write"]
    try:
        first = await _probe(api, wanted[0], turns)  # an invalid key costs one call, not all of them
        rest = await asyncio.gather(*(_probe(api, permission, turns) for permission in wanted[1:]))
        found_id, name = await _account(api)
    except KeyInvalidError as error:
        raise KeyRefusedError(_why_invalid(error.message), field="api_key") from error
    check = KeyCheck(found_id or account_id or "", name or found_id or account_id or "", (first, *rest))
    _require(check)
    if not check.account_id:
        raise PayloadError(
            "Stripe does not tell this key which account it belongs to. Give the account's id (acct_…), which stands "
            "in the Stripe Dashboard under Settings, Account details.",
            field="account_id",
        )
    return check


async def _probe(api: StripeApi, permission: Permission, turns: asyncio.Semaphore) -> Checked:
    resource = BY_NAME[permission.resources[0]] if permission.resources else None
    path = resource.list_path if resource else "/v1/events"
    walk = resource.walks[0] if resource else ()
    async with turns:
        try:
            if resource and resource.is_singleton:
                await api.retrieve(path)
            else:
                await api.list_page(path, [("limit", "1"), *walk])
        except PermissionMissingError:
            return Checked(permission, Grant.MISSING)
        except (ResourceUnavailableError, StripeNotFoundError):
            return Checked(permission, Grant.UNAVAILABLE)
        except KeyInvalidError:
            raise
        except StripeRefusedError:
            return Checked(permission, Grant.UNAVAILABLE)
    return Checked(permission, Grant.GRANTED)


async def _account(api: StripeApi) -> tuple[str | None, str | None]:
    """Return id and name of the account; a key that may not read it is good all the same."""
    try:
        account = msgspec.json.decode((await api.retrieve("/v1/account")).body, type=_Account)
    except PermissionMissingError as error:
        named = ACCOUNT_ID.search(error.message)
        return (named[0] if named else None), None
    display = account.settings.dashboard.display_name if account.settings and account.settings.dashboard else None
    return account.id, display or (account.business_profile.name if account.business_profile else None)


def _require(check: KeyCheck) -> None:
    """Raise for what a default resource can't do without; a guessed name is no reason to refuse a key."""
    needed = [permission for permission in check.missing if permission.required and permission.is_certain]
    if needed:
        names = ", ".join(f"{permission.toggle} ({permission.slug})" for permission in needed)
        raise KeyRefusedError(f"Missing permissions: {names}. {ADVICE}", field="api_key")


def _why_invalid(message: str) -> str:
    if "IP address" in message:
        return (
            f"Stripe refuses calls from this machine's address with this key: {message} Add the address to the key's "
            "allowed IP addresses in the Stripe Dashboard."
        )
    return (
        f"API Key is invalid: {message} Make sure you copied the full key. If you just rotated the key, the old one "
        "is already invalidated."
    )
