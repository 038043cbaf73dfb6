"""API keys: secret ones that may do everything, and restricted ones with a set of permissions."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace

from simulator import errors
from simulator.resources import PERMISSIONS

# What a permission brings with it, besides reading what it can write.
_IMPLIED = {
    "rak_invoice_read": ("rak_credit_note_read",),
    "rak_transfer_read": ("rak_payout_read",),
    "rak_customer_read": ("rak_billing_clock_read",),
    "rak_balance_transaction_source_read": ("rak_application_fee_read", "rak_balance_read", "rak_transfer_read"),
    "rak_checkout_session_read": ("rak_payment_intent_read", "rak_product_read", "rak_setup_intent_read"),
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `permissions` is None for a secret key, which may do everything."""

    secret: str
    permissions: frozenset[str] | None
    expired: bool = False
    allowed_addresses: frozenset[str] | None = None

    def has(self, permission: str) -> bool:
        """Say whether the key may do what the permission stands for."""
        if self.permissions is None or permission in self.permissions:
            return True
        if permission.endswith("_read") and f"{permission[:-5]}_write" in self.permissions:
            return True
        return any(permission in _IMPLIED.get(own, ()) for own in self.permissions)


class KeyRing:
    """All keys of the account; deleted ones are forgotten, expired ones are remembered as such."""

    def __init__(self, rng: random.Random, *, livemode: bool) -> None:
        self._rng = rng
        self._mode = "live" if livemode else "test"
        self.keys: dict[str, Key] = {}

    def create(self, permissions: Iterable[str] | None = None, *, secret: str | None = None) -> Key:
        """Create a restricted key, with every permission if none are named."""
        granted = PERMISSIONS if permissions is None else frozenset(permissions)
        key = Key(secret or self._new_secret("rk"), _known(granted))
        self.keys[key.secret] = key
        return key

    def create_secret(self, secret: str | None = None) -> Key:
        """Create a key that may do everything."""
        key = Key(secret or self._new_secret("sk"), None)
        self.keys[key.secret] = key
        return key

    def grant(self, secret: str, permissions: Iterable[str]) -> Key:
        key = self.keys[secret]
        return self._keep(replace(key, permissions=(key.permissions or frozenset()) | _known(permissions)))

    def revoke(self, secret: str, permissions: Iterable[str]) -> Key:
        key = self.keys[secret]
        return self._keep(replace(key, permissions=(key.permissions or PERMISSIONS) - _known(permissions)))

    def expire(self, secret: str) -> Key:
        return self._keep(replace(self.keys[secret], expired=True))

    def rotate(self, secret: str) -> Key:
        """Expire a key and give a new one that may do the same."""
        old = self.expire(secret)
        kind = "sk" if old.permissions is None else "rk"
        return self._keep(replace(old, secret=self._new_secret(kind), expired=False))

    def restrict_addresses(self, secret: str, addresses: Iterable[str] | None) -> Key:
        """Let a key be used from these addresses only, or from everywhere if None."""
        allowed = None if addresses is None else frozenset(addresses)
        return self._keep(replace(self.keys[secret], allowed_addresses=allowed))

    def delete(self, secret: str) -> None:
        del self.keys[secret]

    def authenticate(self, secret: str | None, address: str | None) -> Key:
        """Give the key of a request, or raise Stripe's 401."""
        if not secret:
            raise errors.no_key()
        key = self.keys.get(secret)
        if key is None:
            raise errors.invalid_key(secret)
        if key.expired:
            raise errors.expired_key(secret)
        if key.allowed_addresses is not None and address not in key.allowed_addresses:
            raise errors.address_not_allowed()
        return key

    def _keep(self, key: Key) -> Key:
        self.keys[key.secret] = key
        return key

    def _new_secret(self, kind: str) -> str:
        alphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
        return f"{kind}_{self._mode}_{''.join(self._rng.choices(alphabet, k=99))}"


def _known(permissions: Iterable[str]) -> frozenset[str]:
    wanted = frozenset(permissions)
    if unknown := wanted - PERMISSIONS:
        raise ValueError(f"There is no permission named {', '.join(sorted(unknown))}.")
    return wanted
