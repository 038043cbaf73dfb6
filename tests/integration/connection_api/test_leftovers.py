"""What a crash has left, and nobody can read any more, ends neither the API nor what else it has to finish."""

from __future__ import annotations

from shared.background import BACKGROUND
from shared.crypto import make_encryption_key, parse_key_ring
from tests.eventually import eventually
from tests.integration.connection_api.serving import execute, ready

PROBE = "INSERT INTO endpoint_probes (id, api_key, created_at) VALUES ('whe_left', $1, now() - interval '5 minutes')"
CONNECTION = """
INSERT INTO connections (id, account_id, account_name, livemode, state, api_key, key_hint, resources, live_by)
VALUES ('con_1', 'acct_1', 'Ada', true, 'setting_up', $1, 'rk', '{charge}', 'webhooks')
"""


async def test_what_can_not_be_decrypted_ends_nothing(database_url: str) -> None:
    dropped = parse_key_ring(make_encryption_key("k9"))
    await execute(database_url, PROBE, dropped.encrypt("rk", owner="whe_left", name="api_key"))
    await execute(database_url, CONNECTION, dropped.encrypt("rk", owner="con_1", name="api_key"))
    async with ready(database_url, public_url="https://hooks.example.com") as api:

        async def is_settled() -> bool:
            probes = await execute(database_url, "SELECT FROM endpoint_probes")
            [row] = await execute(database_url, "SELECT state, cause_code FROM connections")
            return not probes and tuple(row) == ("action_required", "secret_unreadable")

        await eventually(is_settled, within=60, what="what was left is dealt with")
        assert api.app is not None
        assert not api.app[BACKGROUND].failed.done()
        assert (await api.get("/readyz")).status == 200
