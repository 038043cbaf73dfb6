"""What the simulator is started with, and what can go wrong in it on demand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    """Rates are between 0 and 1. All of them can be set while the simulator runs."""

    webhook_loss: float = 0.0
    webhook_late: float = 0.0
    webhook_late_seconds: float = 30.0
    webhook_duplicate: float = 0.0
    webhook_reorder: float = 0.0
    webhook_reorder_seconds: float = 0.5
    webhook_retry_seconds: float = 5.0  # before the first retry; doubled for each further one
    webhook_retries: int = 3
    http_429: float = 0.0
    http_402: float = 0.0
    http_500: float = 0.0
    http_503: float = 0.0
    lock_timeout: float = 0.0
    http_cut: float = 0.0  # the answer ends in its middle: half of them as a whole answer, half with the connection
    refused_path: str = ""  # below /v1: it is refused with this status, code and these words
    refused_status: int = 400
    refused_code: str = ""
    refused_message: str = "This list can't be given today."
    odd_path: str = ""  # below /v1: this list is answered oddly, where more objects than `odd_above` are asked for
    odd_kind: str = ""  # see simulator/oddities.py
    odd_above: int = 0
    odd_id: str = ""  # the object that is odd, where one is and not the whole answer
    http_slow: float = 0.0
    http_slow_seconds: float = 3.0  # between reading and answering, at most
    latency_before_ms: float = 0.0  # before Stripe reads what it answers
    latency_after_ms: float = 0.0  # between reading and answering
    date_skew_seconds: float = 0.0  # by how much the `Date` of an answer is off at most: Stripe has many clocks
    events_delay_seconds: float = 0.0  # until /v1/events lists an event
    events_omitted: tuple[str, ...] = ("refund.",)  # type prefixes that /v1/events does not list


@dataclass(frozen=True, slots=True)
class Config:
    """How big, how old and how busy the simulated account is."""

    seed: int = 7
    objects: int = 20_000
    history_days: int = 730
    changes_per_second: float = 0.0
    livemode: bool = False
    account_version: str = "2024-06-20"
    connected_accounts: int = 2
    per_account_limit: float | None = None  # requests a second; Stripe's own for the mode if None
    per_endpoint_limit: float = 25.0
    rate_limits: bool = True
    max_webhook_endpoints: int = 16
    deliveries_at_once: int = 64
    clock_skew_seconds: float = 0.0  # how far Stripe's clock is ahead of this machine's
    faults: Faults = Faults()
