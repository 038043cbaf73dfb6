"""What an account has only one of: itself, its balance, and the balance's settings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from simulator.shapes import State
from simulator.store import Table


class Balance:
    """The sum of all balance transactions, kept as they come: pending until their day, then available."""

    def __init__(self, transactions: Table, now: Callable[[], float], *, livemode: bool) -> None:
        self._table = transactions
        self._now = now
        self._livemode = livemode
        self._seen = 0
        self._available = 0
        self._pending: deque[tuple[int, int]] = deque()

    def render(self) -> State:
        """Give the balance as of now."""
        while self._seen < len(self._table.ids):
            state = self._table.at(self._seen) or {"available_on": 0, "net": 0}
            self._pending.append((state["available_on"], state["net"]))
            self._seen += 1
        while self._pending and self._pending[0][0] <= self._now():
            self._available += self._pending.popleft()[1]
        pending = sum(net for _, net in self._pending)
        return {
            "object": "balance",
            "available": [_amount(self._available)],
            "connect_reserved": [{"amount": 0, "currency": "usd"}],
            "livemode": self._livemode,
            "pending": [_amount(pending)],
        }


def own_states(account_id: str, created: int) -> dict[str, State]:
    """Make what an account has of its own, besides its balance."""
    account = account_state(account_id, created, country="US", name="Till Shop") | {"type": "standard"}
    payouts = {
        "minimum_balance_by_currency": None,
        "schedule": {"interval": "daily", "monthly_payout_days": None, "weekly_payout_days": None},
        "statement_descriptor": None,
        "status": "enabled",
    }
    settings = {
        "payments": {
            "debit_negative_balances": None,
            "payouts": payouts,
            "settlement_timing": {"delay_days": 2, "start_of_day": None},
        },
    }
    return {"account": account, "balance_settings": settings}


def account_state(account_id: str, created: int, *, country: str, name: str) -> State:
    """Make what every account has."""
    return {
        "id": account_id,
        "business_profile": {
            "annual_revenue": None,
            "estimated_worker_count": None,
            "mcc": "5734",
            "minority_owned_business_designation": None,
            "name": name,
            "product_description": None,
            "support_address": None,
            "support_email": None,
            "support_phone": None,
            "support_url": None,
            "url": "https://shop.example.com",
        },
        "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": country,
        "created": created,
        "default_currency": "usd",
        "details_submitted": True,
        "email": "owner@shop.example.com",
        "metadata": {},
        "payouts_enabled": True,
        "tos_acceptance": {"date": created, "ip": None, "user_agent": None},
    }


def _amount(cents: int) -> State:
    return {"amount": cents, "currency": "usd", "source_types": {"card": cents}}
