"""Restricted Stripe keys: what can be told from the text alone, before any call."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import SecretStr

from shared.errors import KeyRefusedError

SHORTEST = 20  # characters; Stripe's restricted keys have about 107
_PATTERN = re.compile(r"rk_(live|test)_[A-Za-z0-9]+\Z")
_MAKE_ONE = "Create a restricted key in the Stripe Dashboard and paste the whole of it."

# What is wrong with a text that is no restricted key, in the order in which it is looked for.
_FAULTS = tuple(
    (re.compile(pattern), message)
    for pattern, message in (
        (r"\Z", f"There is no key. {_MAKE_ONE}"),
        (
            r"sk_(live|test)_",
            "This is a secret key (sk_…), which can do everything on your account. Use a restricted key (rk_live_…).",
        ),
        (
            r"pk_(live|test)_",
            "This is a publishable key (pk_…), which can't read data. Use a restricted key (rk_live_…).",
        ),
        (r"(?!rk_(live|test)_)", f"API Key is invalid: restricted keys start with rk_live_. {_MAKE_ONE}"),
        (r".*(\s|…|\*|\.\.)", f"API Key is invalid: it has spaces or was shortened when it was copied. {_MAKE_ONE}"),
        (r".*[^A-Za-z0-9_]", f"API Key is invalid: it has characters that no Stripe key has. {_MAKE_ONE}"),
        (rf".{{0,{SHORTEST - 1}}}\Z", f"API Key is invalid: it is too short, so a part is missing. {_MAKE_ONE}"),
    )
)

_TEST_MODE = (r"rk_test_", "This is a test mode key (rk_test_…). Use a live mode key, which starts with rk_live_.")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A restricted key that looks right."""

    secret: SecretStr
    livemode: bool

    @property
    def hint(self) -> str:
        """What may be shown of the key, such as `rk_live_…4f2a`."""
        text = self.secret.get_secret_value()
        return f"{text[:8]}…{text[-4:]}"


def text_rules(*, allow_test: bool) -> list[tuple[str, str]]:
    """Return what `parse_api_key` refuses, in its order: expressions as browsers know them, each with its message."""
    rules = [(pattern.pattern, message) for pattern, message in _FAULTS] + ([] if allow_test else [_TEST_MODE])
    return [(f"^(?:{pattern})".replace(r"\Z", "$"), message) for pattern, message in rules]


def parse_api_key(text: str, *, allow_test: bool) -> ApiKey:
    """Return the key in `text`, white space trimmed; raise `KeyRefusedError` with the reason and the fix."""
    text = text.strip().strip("\"'").strip()
    fault = next((message for pattern, message in _FAULTS if pattern.match(text)), None)
    match = _PATTERN.match(text)
    if fault or not match:
        raise KeyRefusedError(fault or f"API Key is invalid. {_MAKE_ONE}", field="api_key")
    if match[1] == "test" and not allow_test:
        raise KeyRefusedError(_TEST_MODE[1], field="api_key")
    return ApiKey(SecretStr(text), livemode=match[1] == "live")
