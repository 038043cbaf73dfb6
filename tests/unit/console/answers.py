"""What the API answers, as tests need it."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
WAREHOUSE = "dst_warehousewarehousewa1"
COUNTS = {"inserted": 0, "updated": 0, "unchanged": 0, "deleted": 0, "ignored": 0, "failed": 0}
LIVE = {
    "word": "Live",
    "text": "Live",
    "sentence": "Stripe sends every change here, and it is written within seconds.",
    "tone": "good",
    "percent": None,
    "remedy": None,
    "fix": None,
}
BACKFILLING = LIVE | {
    "word": "Backfilling",
    "text": "Backfilling 42 %",
    "sentence": "History is being copied; what changes meanwhile is written too.",
    "tone": "busy",
    "percent": 42,
}
ACTION_REQUIRED = LIVE | {
    "word": "Action required",
    "text": "Action required",
    "sentence": "Missing permissions: Charges and Refunds (rak_charge_read). Everything else is still synced.",
    "tone": "bad",
    "remedy": "update_key",
}
FRESHNESS = {
    "ways": [
        {
            "name": "webhooks",
            "title": "Webhooks",
            "sentence": "Stripe sends every change, and it is written within about a second. It costs no reads.",
            "last_at": "2026-11-25T11:59:48Z",
            "next_at": None,
            "reads_per_day": 0,
        },
        {
            "name": "comparing",
            "title": "Comparing",
            "sentence": "The event feed is compared every 15 min, and lists of what changes without an event are read "
            "again: the last 2 hours of them, once a day the last 35 days.",
            "last_at": "2026-11-25T11:50:00Z",
            "next_at": "2026-11-25T12:05:00Z",
            "reads_per_day": 412,
        },
    ],
    "reads_per_month": 12_360,
    "cost": "About 12,360 reads a month at this pace. Stripe allows about 500 for each transaction, and at least "
    "10,000 a month.",
}
FAULT = {
    "resource": "charge",
    "code": "missing_permissions",
    "cause": "Missing permissions: the key may not read charges.",
    "permission": "rak_charge_read",
    "since": "2026-11-25T11:20:00Z",
}


def counts(**changes: int) -> Json:
    return COUNTS | changes


def backfill(**changes: Any) -> Json:
    return {
        "id": "syn_backfillbackfillback1",
        "status": "running",
        "share": 0.42,
        "read": 12_345,
        "stripe_calls": 130,
        "rate_limited": 2,
        "counts": counts(inserted=12_000, updated=40),
    } | changes


def connection(**changes: Any) -> Json:
    return {
        "id": "con_5f3kacmeacmeacmeacme2",
        "account_id": "acct_1NvAcmeAcmeAcme1",
        "account_name": "Acme Inc",
        "name": changes.get("account_name", "Acme Inc"),
        "livemode": True,
        "state": "active",
        "cause_code": None,
        "cause": None,
        "status": LIVE,
        "owed": [],
        "faults": [],
        "key_hint": "rk_live_…4f2a",
        "key_version": 1,
        "start_date": None,
        "resources": ["charge", "customer", "invoice"],
        "omitted_fields": {},
        "live_by": "webhooks",
        "last_event_at": "2026-11-25T11:59:48Z",
        "last_synced_at": "2026-11-25T11:59:48Z",
        "created_at": "2026-11-20T08:30:00Z",
        "destination_ids": [WAREHOUSE],
        "backfill": None,
        "rows": 40_321,
        "rows_today": 1204,
        "freshness": FRESHNESS,
    } | changes


OTHER = connection(
    id="con_7abcglobexglobexglob3",
    account_id="acct_1OtherGlobexGlo2",
    account_name="Globex Corporation",
    name="Globex Corporation",
    livemode=False,
    status=BACKFILLING,
    last_synced_at=None,
    rows_today=0,
)
BROKEN = connection(
    id="con_9xyzinitechinitechin4",
    account_id="acct_1InitechInitech3",
    account_name="Initech [Europe]",
    name="Initech [Europe]",
    status=ACTION_REQUIRED,
    faults=[FAULT],
    last_synced_at="2026-11-25T09:10:00Z",
    start_date="2025-01-01T00:00:00Z",
    omitted_fields={"charge": ["billing_details.address"]},
    key_version=3,
    backfill=backfill(status="succeeded", share=1.0),
)


def destination(**changes: Any) -> Json:
    made = {
        "id": WAREHOUSE,
        "name": "Warehouse",
        "host": "db.example.com",
        "port": 5432,
        "database": "analytics",
        "user": "loader",
        "schema_name": "stripe",
        "sslmode": "require",
        "ca": None,
        "deleted_rows": "marked",
        "created_at": "2026-11-20T08:00:00Z",
    }
    return made | {"parked": 0, "delays": []} | changes


def sync(**changes: Any) -> Json:
    return {
        "id": "syn_backfillbackfillback1",
        "connection_id": "con_5f3kacmeacmeacmeacme2",
        "connection_name": "Acme Inc",
        "kind": "backfill",
        "trigger": "connected",
        "status": "succeeded",
        "outcome": changes.get("status", "succeeded"),
        "resources": ["charge", "customer"],
        "object_id": None,
        "range_start": None,
        "range_end": "2026-11-25T11:00:00Z",
        "cause_code": None,
        "cause": None,
        "stripe_calls": 130,
        "rate_limited": 2,
        "created_at": "2026-11-25T11:00:00Z",
        "started_at": "2026-11-25T11:00:01Z",
        "finished_at": "2026-11-25T11:03:21Z",
        "read": 12_345,
        "share": 1.0,
        "counts": counts(inserted=12_000, updated=40, unchanged=305),
        "is_stopped": False,
    } | changes


def progress(**changes: Any) -> Json:
    return {
        "resource": "charge",
        "share": 0.5,
        "read": 6000,
        "confirmed": False,
        "cause_code": None,
        "cause": None,
        "counts": counts(inserted=5900),
    } | changes


RUNNING = sync(
    status="running",
    share=0.5,
    finished_at=None,
    progress=[
        progress(),
        progress(resource="customer", share=1.0, confirmed=True, read=6345, counts=counts(inserted=6100, updated=40)),
        progress(resource="invoice", share=1.0, confirmed=True, read=0, cause="Missing permissions.", counts=counts()),
    ],
)
ESTIMATE = {
    "objects": 12_400,
    "seconds": 240.0,
    "calls": 9,
    "older_rows": 800,
    "sentence": "About 12,400 objects, which takes about 4 min.",
    "by_resource": {"charge": 12_400},
} | {"objects_least": 9_000, "objects_most": 16_000, "is_known": False}
PREVIEW = {
    "name": "Acme Inc",
    "account_name": "Acme Inc",
    "webhook_endpoint_id": "we_1Acme",
    "tables": [
        {"destination_id": WAREHOUSE, "destination_name": "Warehouse", "table": "charges", "rows": 10_400},
        {"destination_id": WAREHOUSE, "destination_name": "Warehouse", "table": "customers", "rows": 1},
    ],
    "unreachable": ["Old database"],
    "syncs": 12,
    "events": 40_321,
    "dead_letters": 1,
    "parked_records": 0,
}
REMOVAL = {
    "id": "rmv_aaaaabbbbbcccccddddd1",
    "connection_id": "con_5f3kacmeacmeacmeacme2",
    "account_id": "acct_1NvAcmeAcmeAcme1",
    "livemode": True,
    "deletes_rows": True,
    "is_done": True,
    "steps": [
        {"name": "endpoint", "at": "2026-11-25T12:00:01Z", "counts": {"webhook_endpoints": 1}, "note": None},
        {"name": "key", "at": "2026-11-25T12:00:01Z", "counts": {}, "note": None},
        {"name": "rows", "at": "2026-11-25T12:00:03Z", "counts": {"charges": 10_400, "customers": 1}, "note": None},
        {"name": "history", "at": "2026-11-25T12:00:04Z", "counts": {"syncs": 12, "events": 40_321}, "note": None},
    ],
    **{"cause": None, "waits": []},
    "leftovers": [{"topic": "events", "until": "2026-12-03T13:00:04Z"}],
    "requested_at": "2026-11-25T12:00:00Z",
    "finished_at": "2026-11-25T12:00:04Z",
}


def permission(**changes: Any) -> Json:
    return {
        "toggle": "Charges and Refunds",
        "slug": "rak_charge_read",
        "grant": "granted",
        "required": True,
        "resources": ["charge", "refund"],
    } | changes


KEY_CHECK = {
    "account_id": "acct_1NvAcmeAcmeAcme1",
    "account_name": "Acme Inc",
    "livemode": True,
    "key_hint": "rk_live_…4f2a",
    "passed": False,
    "sentence": "Missing permissions: Webhook Endpoints (rak_webhook_write).",
    "groups": [
        {
            "group": "core",
            "title": "All Core resources",
            "access": "Read",
            "passed": True,
            "permissions": [
                permission(),
                permission(toggle="Files", slug="rak_file_read", grant="missing", required=False),
                permission(toggle="Climate", slug="rak_climate_read", grant="unavailable", required=False),
            ],
        },
        {
            "group": None,
            "title": "Webhook Endpoints",
            "access": "Write",
            "passed": False,
            "permissions": [permission(toggle="Webhook Endpoints", slug="rak_webhook_write", grant="missing")],
        },
    ],
}
TOKENS = [
    {
        "id": "tok_aaaaabbbbbcccccddddd1",
        "name": "nightly export",
        "scope": "read",
        "created_at": "2026-11-01T08:00:00Z",
        "last_used_at": "2026-11-25T11:58:00Z",
        "expires_at": None,
        "revoked_at": None,
    },
    {
        "id": "tok_aaaaabbbbbcccccddddd2",
        "name": "old pipeline",
        "scope": "manage",
        "created_at": "2026-01-01T08:00:00Z",
        "last_used_at": None,
        "expires_at": "2026-06-01T00:00:00Z",
        "revoked_at": None,
    },
]
AUDIT_ENTRY = {
    "id": 7,
    "at": "2026-11-25T11:30:00Z",
    "actor": "token tok_aaaaabbbbbcccccddddd1",
    "action": "connection.key_updated",
    "subject": "con_5f3kacmeacmeacmeacme2",
    "details": {"key_version": 2},
    "request_id": "req_1",
    "previous_hash": "00" * 32,
    "hash": "11" * 32,
    "person": "",
    "address": "192.0.2.7",
}
RESOURCE = {
    "name": "charge",
    "table": "charges",
    "group": "core",
    "permission": "rak_charge_read",
    "is_default": True,
    "has_created_filter": True,
    "children": ["refund"],
}
TEST_ANSWER = {
    "passed": False,
    "steps": [
        {"name": "login", "passed": True, "message": "Logged in as loader.", "code": None, "fix": None, "sql": None},
        {
            "name": "schema",
            "passed": False,
            "message": "The user may not create schemas.",
            "code": "permission",
            "fix": "Let an administrator run this:",
            "sql": 'GRANT CREATE ON DATABASE "analytics" TO "loader";',
        },
    ],
}
EVENT = {
    "connection_id": "con_5f3kacmeacmeacmeacme2",
    "connection_name": "Acme Inc",
    "event_id": "evt_1",
    "type": "charge.refunded",
    "resource": "charge",
    "object_id": "ch_1",
    "created": 1_795_000_000,
    "outcome": "updated",
    "received_at": "2026-11-25T11:00:00Z",
    "written_at": "2026-11-25T11:00:01Z",
    "destinations": [
        {
            "destination_id": WAREHOUSE,
            "outcome": "updated",
            "code": None,
            "reason": None,
            "at": "2026-11-25T11:00:01Z",
        }
    ],
}
ARRIVED = {
    "destination_id": WAREHOUSE,
    "destination_name": "Warehouse",
    "outcome": "updated",
    "is_waiting": False,
    "code": None,
    "reason": None,
    "at": "2026-11-25T11:00:01Z",
    "parked_at": None,
    "answer": None,
}
EVENT_LIFE = {name: EVENT[name] for name in ("event_id", "type", "resource", "object_id", "created")} | {
    "paths": [
        {
            "connection_id": EVENT["connection_id"],
            "connection_name": EVENT["connection_name"],
            "received_at": EVENT["received_at"],
            "topic": "tillstream.events.v1",
            "partition": 3,
            "offset": 77,
            "outcome": "updated",
            "written_at": EVENT["written_at"],
            "question": None,
            "changes": {"changes": [{"field": "refunded", "old": "false", "new": "true"}], "is_cut": True},
            "destinations": [
                ARRIVED,
                ARRIVED
                | {
                    "destination_name": "Lake",
                    "outcome": "ignored",
                    "code": "older",
                    "reason": "A newer version is there already.",
                    "parked_at": "2026-11-25T10:00:00Z",
                },
                ARRIVED | {"destination_name": "Pond", "outcome": "parked", "is_waiting": True, "at": None},
            ],
        }
    ]
}
