"""Rows that make a connection owe something."""

from __future__ import annotations

LONG_AGO = "now() - interval '18 minutes'"
FAILED = """
INSERT INTO slices (sync_id, connection_id, resource, status, cause_code, cause)
VALUES ($1, 'con_1', $2, 'failed', $3, 'Stripe refused: no such widget.')
"""
START = "UPDATE syncs SET status = 'running', started_at = now() WHERE id = $1"
END = "UPDATE syncs SET status = $2, finished_at = now() WHERE id = $1"
VERIFIED = """
INSERT INTO syncs (id, connection_id, kind, trigger, status, resources, finished_at, created_at)
VALUES ('syn_v', 'con_1', 'verify', 'requested', 'succeeded', '{charge}', now(), now() - interval '1 hour')
"""
DIFFERENCE = """
INSERT INTO differences (sync_id, connection_id, destination_id, resource, object_id, status, kind)
SELECT 'syn_v', 'con_1', 'dst_1', 'charge', 'ch_' || n, 'confirmed', 'different' FROM generate_series(1, 4) n
"""
FAULT = """
INSERT INTO resource_faults (connection_id, resource, code, cause, permission, next_try_at)
VALUES ('con_1', $1, $2, $3, $4, now() + interval '1 minute')
"""
REFUSAL = """
WITH endpoint AS (
    INSERT INTO webhook_endpoints (id, connection_id, url, stripe_id) VALUES ('whe_1', 'con_1', 'https://x', 'we_1')
    RETURNING id)
INSERT INTO webhook_refusals (endpoint_id, code, refused, skew_seconds, since, missed_at)
SELECT id, $1, 2300, $2, now() - interval '9 minutes', now() - $3 * interval '1 minute' FROM endpoint
"""
REMOVAL = """
INSERT INTO removals (id, connection_id, account_id, livemode, deletes_rows, steps, cause)
SELECT 'rem_1', id, account_id, livemode, true, '[]', $1 FROM connections
"""
LETTER = """
INSERT INTO dead_letters (stage, code, reason, connection_id, destination_id, topic, partition, record_offset, body)
VALUES ('write', 'destination_rejected', $1, 'con_1', 'dst_1', 't', 0, $2, '{}')
"""
