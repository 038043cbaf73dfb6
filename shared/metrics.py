"""Every metric of Tillstream, declared once.

Labels are bounded: no object, event or connection id is ever one.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()
LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

WEBHOOKS = Counter(
    "tillstream_gateway_webhooks_total",
    "Webhooks received, by what became of them.",
    ["outcome"],
    registry=REGISTRY,
)
WEBHOOK_SECONDS = Histogram(
    "tillstream_gateway_webhook_seconds",
    "From the request's first byte to the answer.",
    registry=REGISTRY,
    buckets=LATENCIES,
)
MALFORMED_REQUESTS = Counter(
    "tillstream_http_malformed_total", "Requests that are no HTTP; they are not logged.", registry=REGISTRY
)
SECRETS_UNREADABLE = Counter(
    "tillstream_signing_secrets_unreadable_total",
    "Times a signing secret was left out because no key of TILLSTREAM_ENCRYPTION_KEYS opens it.",
    registry=REGISTRY,
)
PRODUCER_RECREATED = Counter(
    "tillstream_producer_recreated_total",
    "Times the Kafka producer was built anew after a fatal error.",
    registry=REGISTRY,
)
LOOPS_FAILED = Counter(
    "tillstream_loops_failed_total",
    "Times a loop in the background ended by an error that nobody had foreseen, and was begun again.",
    ["loop"],
    registry=REGISTRY,
)
BROKER_LOSSES = Counter(
    "tillstream_broker_losses_total",
    "Times the broker was found to have lost records, by how it was noticed.",
    ["cause"],
    registry=REGISTRY,
)
STRIPE_CALLS = Counter("tillstream_stripe_calls_total", "Calls to Stripe, by status.", ["status"], registry=REGISTRY)
STRIPE_SECONDS = Histogram(
    "tillstream_stripe_call_seconds",
    "Duration of a call to Stripe, waits for the budget apart.",
    registry=REGISTRY,
    buckets=LATENCIES,
)
RECORDS_PUBLISHED = Counter(
    "tillstream_sync_records_total",
    "Records published to Kafka by the sync worker.",
    ["origin"],
    registry=REGISTRY,
)
RECORDS_WRITTEN = Counter(
    "tillstream_writer_records_total",
    "Records handled by the writer, by outcome.",
    ["outcome"],
    registry=REGISTRY,
)
EVENT_TO_ROW_SECONDS = Histogram(
    "tillstream_writer_event_to_row_seconds",
    "From a webhook's arrival to its row's commit.",
    registry=REGISTRY,
    buckets=LATENCIES,
)
PARKED = Gauge("tillstream_writer_parked_records", "Records that wait for their destination.", registry=REGISTRY)
LEFT_OUT = Counter(
    "tillstream_writer_left_out_records_total",
    "Records for which there was no room to wait; they are read from Stripe again.",
    registry=REGISTRY,
)
DEAD_LETTERS = Counter("tillstream_dead_letters_total", "Dead letters, by code.", ["code"], registry=REGISTRY)
BATCHES_RETRIED = Counter(
    "tillstream_consumer_batches_retried_total",
    "Batches handled again after a transient failure.",
    ["topic"],
    registry=REGISTRY,
)
RECORDS_HELD = Gauge(
    "tillstream_consumer_held_records",
    "Records that fail and may not become dead letters for now, since nearly all do, or since they are dead letters.",
    ["topic"],
    registry=REGISTRY,
)
LEDGER_ROWS_REFUSED = Counter(
    "tillstream_writer_ledger_rows_refused_total",
    "Rows of the writers' reports that the state database refused; what they tell of was written all the same.",
    registry=REGISTRY,
)
