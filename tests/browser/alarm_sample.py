"""Alarms, and messages of each fate."""

from __future__ import annotations

from shared.db import Pool

CHANNEL = """
INSERT INTO alarm_channels (id, kind, shown, address, events, quiet) VALUES ($1, $2, $3, '', $4,
    '{"begin": "22:00:00", "end": "07:00:00", "zone": "Europe/Berlin"}')
"""
MESSAGE = """
INSERT INTO alarm_messages
    (id, channel_id, event, sentence, url, created_at, sent_at, attempts, last_error, next_try_at)
VALUES ($1, $2, 'action_required', $3, 'https://till.example.com/', now() - $4 * interval '1 minute',
        CASE WHEN $5 THEN now() END, 1, $6, CASE WHEN $7 THEN now() + interval '1 hour' END)
"""
SENTENCE = (
    "12 accounts need you: Brightwater Books, Halcyon Coffee, Northwind, Till Shop, Zürich Läckerli and 7 others. "
    "Demo warehouse can't be written: nothing listens at warehouse.example.com:5432. Show destination."
)


async def add_alarms(pool: Pool) -> None:
    """Add two channels with messages of each fate."""
    every = ["action_required", "records_failed", "recovered", "delayed"]
    await pool.execute(CHANNEL, "alm_1", "webhook", "hooks.ops.example.com", every)
    await pool.execute(CHANNEL, "alm_2", "email", "a…@example.com", ["action_required"])
    fates = ((True, None, False), (False, "The receiver answered 500.", True), (False, "The host is unknown.", False))
    for number, fate in enumerate(fates):
        await pool.execute(MESSAGE, f"msg_{number}", f"alm_{1 + number % 2}", SENTENCE, number * 90, *fate)
