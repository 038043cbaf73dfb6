"""What a key check found, as people read it: the rows of Stripe's own page, by group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shared.api_keys import ApiKey
from shared.catalogue import WEBHOOK_PERMISSION, Group
from shared.key_check import Checked, Grant, KeyCheck, describe_missing, quoted

# In the order and the words of the user documentation.
GROUPS = (
    (Group.CORE, "All Core resources", "Read"),
    (Group.CONNECT, "All Connect resources", "Read"),
    (Group.BILLING, "All Billing resources", "Read"),
    (None, "Webhook Endpoints", "Write"),
)


@dataclass(frozen=True, slots=True)
class PermissionLine:
    """One row of the checklist."""

    toggle: str
    slug: str
    grant: Grant
    required: bool
    resources: tuple[str, ...]
    words: str | None = None  # Stripe's, where it refused


@dataclass(frozen=True, slots=True)
class GroupLines:
    """A block of permissions as Stripe shows them; it has passed when nothing that is required is missing."""

    group: Group | None
    title: str
    access: str
    passed: bool
    permissions: tuple[PermissionLine, ...]


@dataclass(frozen=True, slots=True)
class KeyReport:
    """What a key may do, and whether it suffices."""

    account_id: str
    account_name: str
    livemode: bool
    key_hint: str
    passed: bool
    sentence: str
    groups: tuple[GroupLines, ...]

    @property
    def missing(self) -> tuple[PermissionLine, ...]:
        """What the key lacks and can't do without."""
        lines = (line for group in self.groups if not group.passed for line in group.permissions)
        return tuple(line for line in lines if line.grant is Grant.MISSING and line.required)


def make_report(key: ApiKey, check: KeyCheck, *, webhooks: Grant | None, wanted: Iterable[str]) -> KeyReport:
    """Put a check into words.

    `webhooks` is what was found of Webhook Endpoints, `None` where no endpoint is needed; `wanted` names the resources
    without which the key does not suffice.
    """
    needed = frozenset(wanted)
    checked = list(check.checked)
    if webhooks is not None:
        checked.append(Checked(WEBHOOK_PERMISSION, webhooks, WEBHOOK_PERMISSION.slug))
    blocking = [one for one in checked if is_blocking(one, needed)]
    groups = tuple(
        GroupLines(
            group,
            title,
            access,
            passed=not any(one.permission.group is group for one in blocking),
            permissions=tuple(_line(one, needed) for one in checked if one.permission.group is group),
        )
        for group, title, access in GROUPS
        if group is not None or webhooks is not None
    )
    return KeyReport(
        check.account_id,
        check.account_name,
        key.livemode,
        key.hint,
        passed=not blocking,
        sentence=describe_missing(blocking) if blocking else _sufficient(checked, needed),
        groups=groups,
    )


def is_blocking(checked: Checked, needed: frozenset[str]) -> bool:
    """Tell whether the key is of no use for want of this; a guessed permission is no reason to refuse a key."""
    is_missing = checked.grant is Grant.MISSING and checked.permission.is_certain
    return is_missing and _is_required(checked, needed)


def _is_required(checked: Checked, needed: frozenset[str]) -> bool:
    resources = checked.permission.resources
    return not resources or not needed.isdisjoint(resources)


def _line(checked: Checked, needed: frozenset[str]) -> PermissionLine:
    permission = checked.permission
    return PermissionLine(
        permission.toggle,
        checked.slug,
        checked.grant,
        _is_required(checked, needed),
        permission.resources,
        checked.words,
    )


def _sufficient(checked: Sequence[Checked], needed: frozenset[str]) -> str:
    return " ".join([_granted(checked, needed), *_refusals(checked)])


def _granted(checked: Sequence[Checked], needed: frozenset[str]) -> str:
    missing = [one for one in checked if one.grant is Grant.MISSING]
    if not missing:
        grants = {one.grant for one in checked}
        if Grant.REFUSED in grants:
            return "No permission is known to be missing."
        return f"The key has every permission{' that this account has' if Grant.UNAVAILABLE in grants else ''}."
    lacking = ", ".join(f"{quoted(one.permission.toggle)} ({one.slug})" for one in missing)
    wanted = any(_is_required(one, needed) for one in missing)
    what = "are not synced" if wanted else "can't be chosen"
    return f"The key has every permission that is required. Not granted, so these {what}: {lacking}."


def _refusals(checked: Sequence[Checked]) -> Iterator[str]:
    for one in checked:
        if one.grant is Grant.REFUSED:
            yield f"Stripe refuses {one.permission.toggle}, and says: {one.words}"
