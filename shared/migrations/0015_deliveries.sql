-- When each destination has last confirmed a row of the connection: written, or found as it should be. "Last sync" is
-- the oldest of them.
ALTER TABLE connection_destinations ADD COLUMN written_at timestamptz;
UPDATE connection_destinations l SET written_at = c.last_synced_at FROM connections c WHERE c.id = l.connection_id;
ALTER TABLE connections DROP COLUMN last_synced_at;

-- What a person has to let go is held for ever, not for a hundred years, and found by the place where it waits.
UPDATE parked_records SET next_try_at = 'infinity' WHERE next_try_at > now() + interval '10 years';
CREATE INDEX ON parked_records (destination_id, connection_id) WHERE next_try_at = 'infinity';
