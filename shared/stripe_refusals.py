"""What Stripe's refusals mean: one table, by which the check of a key and whoever reads with it tell them apart.

Stripe gives no code to most of them, so status and words count. Sources: https://docs.stripe.com/error-codes,
https://docs.stripe.com/keys/restricted-api-keys, and answers that were quoted in public; the words have changed before.
Words that stand in no row are told as they are: nobody knows better what they mean than whoever reads them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import (
    KeyInvalidError,
    PermissionMissingError,
    ResourceUnavailableError,
    StripeNotFoundError,
    StripeRefusedError,
)

# A restricted key's 403 names what it lacks: "Having the 'rak_charge_read' permission would allow this request", or
# "Enabling "Prices Read" ('plan_read') permissions on this key would allow this request".
PERMISSION = re.compile(r"'(?:rak_)?([a-z0-9_]+_(?:read|write))'")
ROTATED = "If you just rotated the key, the old one is already invalidated: use the new one."


@dataclass(frozen=True, slots=True)
class Refusal:
    """One kind of refusal: how it is known, as what it is raised, and what is said of it.

    It is known by one of its statuses and, if it has any, by one of its codes or by its words.
    """

    meaning: str
    statuses: frozenset[int]
    error: type[StripeRefusedError]
    codes: frozenset[str] = frozenset()
    words: re.Pattern[str] | None = None
    says: str | None = None  # a sentence for people; `None`: Stripe's own words

    def fits(self, status: int, code: str | None, message: str) -> bool:
        """Tell whether an answer is of this kind."""
        if status not in self.statuses:
            return False
        is_any = not self.codes and self.words is None
        return is_any or code in self.codes or bool(self.words and self.words.search(message))


def _row(
    meaning: str,
    error: type[StripeRefusedError],
    *statuses: int,
    codes: tuple[str, ...] = (),
    words: str | None = None,
    says: str | None = None,
) -> Refusal:
    pattern = re.compile(words, re.IGNORECASE) if words else None
    return Refusal(meaning, frozenset(statuses), error, frozenset(codes), pattern, says)


UNKNOWN = _row("stripe_refused", StripeRefusedError)

#: The first row that fits counts.
REFUSALS: tuple[Refusal, ...] = (
    _row(
        "api_key_ip_restricted",
        KeyInvalidError,
        401,
        403,
        words=r"requests from (your|this) IP|IP address.* not (allowed|authorized|permitted)",
        says="This key may not be used from this machine's IP address. Add the address to the key's allowed IP "
        "addresses in the Stripe Dashboard, or remove the restriction.",
    ),
    _row(
        "api_key_expired",
        KeyInvalidError,
        401,
        403,
        codes=("api_key_expired", "platform_api_key_expired"),
        words=r"Expired API Key",
        says=f"API Key is invalid: it has expired. {ROTATED}",
    ),
    _row(
        "api_key_invalid",
        KeyInvalidError,
        401,
        says=f"API Key is invalid: Stripe does not know it. Make sure you copied the full key. {ROTATED}",
    ),
    # An account that is no Connect platform has no connected accounts: nobody has to do anything about it.
    _row(
        "platform_only",
        ResourceUnavailableError,
        400,
        403,
        404,
        codes=("platform_account_required", "account_invalid"),
        words=r"Only Stripe Connect platforms",
    ),
    # Nobody can grant it, so it is no fault of the key.
    _row("not_grantable", ResourceUnavailableError, 403, words=r"not available for use by restricted keys"),
    _row(
        "missing_permissions",
        PermissionMissingError,
        403,
        codes=("more_permissions_required_for_application",),
        words=r"permission",
    ),
    # What Stripe says of a product that the account does not use.
    _row(
        "resource_unavailable",
        ResourceUnavailableError,
        400,
        403,
        404,
        words=r"not set up to use|is not enabled|not authorized to|only available in testmode|Unrecognized request URL",
    ),
    _row("stripe_not_found", StripeNotFoundError, 404),
    _row("stripe_not_found", StripeNotFoundError, *range(400, 500), codes=("resource_missing",)),
)


def refusal_of(status: int, code: str | None, message: str) -> Refusal:
    """Return the kind of an answer of Stripe that is a refusal; `UNKNOWN` for what stands in no row."""
    return next((row for row in REFUSALS if row.fits(status, code, message)), UNKNOWN)


def refusal_of_key(message: str) -> Refusal:
    """Return why Stripe does not accept a key, by the words of the error that tells so."""
    return refusal_of(401, None, message)


def as_error(status: int, code: str | None, message: str) -> StripeRefusedError:
    """Return the error that a refusal is raised as, with Stripe's words; a missing permission is named by its slug."""
    error = refusal_of(status, code, message).error
    if error is PermissionMissingError:
        named = PERMISSION.search(message)
        return PermissionMissingError(message, permission=f"rak_{named[1]}" if named else None)
    return error(message)
