"""Alarms and their messages, as the API says them."""

from __future__ import annotations

from tests.unit.console.answers import Json

ALARM: Json = {
    "id": "alm_5f3kalarmalarmalarma1",
    "kind": "webhook",
    "shown": "example.com",
    "events": ["action_required", "recovered"],
    "quiet_hours": {"begin": "22:00:00", "end": "07:00:00", "zone": "Europe/Berlin"},
    "created_at": "2026-11-25T10:00:00Z",
}
MAIL: Json = ALARM | {"id": "alm_mailmailmailmailmai1", "kind": "email", "shown": "a…@example.com", "quiet_hours": None}
ALARMS = [ALARM, MAIL]
WAITING: Json = {
    "id": "msg_5f3kmessagemessagem1",
    "alarm_id": ALARM["id"],
    "connection_id": None,
    "connections": 0,
    "event": "test",
    "sentence": "This is a test: alarms of Tillstream arrive here.",
    "url": None,
    "created_at": "2026-11-25T11:59:30Z",
    "sent_at": None,
    "attempts": 0,
    "last_error": None,
    "next_try_at": "2026-11-25T11:59:30Z",
}
ARRIVED: Json = WAITING | {"sent_at": "2026-11-25T11:59:31Z", "attempts": 1, "next_try_at": None}
FAILED: Json = WAITING | {
    "attempts": 1,
    "last_error": "The receiver answered 500.",
    "next_try_at": "2026-11-25T12:01:00Z",
}
MESSAGES = [WAITING, ARRIVED, FAILED, FAILED | {"next_try_at": None}]
