"""Dead letters in the state database, where people see them and replay them."""

from __future__ import annotations

from collections.abc import Sequence

from shared.db import Pool, database_errors
from shared.dead_letters import DeadLetter

INSERT = """
INSERT INTO dead_letters AS d
    (stage, code, reason, connection_id, destination_id, topic, partition, record_offset, key, headers, body)
SELECT $1::text, $2::text, $3::text, nullif($4::text, ''), $5::text, $6::text, $7::int, $8::bigint, $9::text,
       $10::jsonb, $11::bytea
WHERE $4 = '' OR EXISTS (SELECT FROM connections c WHERE c.id = $4 AND c.state <> 'removing')
ON CONFLICT (topic, partition, record_offset, destination_id) DO UPDATE
SET attempts = d.attempts + 1, code = excluded.code, reason = excluded.reason
"""


class Graveyard:
    """Keeps dead letters, each once; those of a connection that is gone are dropped."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Write the dead letters; raise `DatabaseUnavailableError`."""
        with database_errors():
            await self._pool.executemany(INSERT, [_row(letter) for letter in letters])


def _row(letter: DeadLetter) -> tuple[object, ...]:
    return (
        _clean(letter.stage),
        _clean(letter.code),
        _clean(letter.reason),
        _clean(letter.connection_id),
        _clean(letter.destination_id),
        _clean(letter.source_topic),
        letter.source_partition,
        letter.source_offset,
        _clean(letter.key.decode("utf-8", "replace")),
        {_clean(name): _clean(value.decode("utf-8", "replace")) for name, value in letter.headers},
        letter.body,
    )


def _clean(text: str) -> str:
    """Return the text without what Postgres can't hold: a dead letter that can't be kept would come again for ever."""
    return text.replace("\x00", "")
