-- What a connection owes is looked up every second: what failed, and what a comparison found and nobody had repaired.
CREATE INDEX ON syncs (connection_id) WHERE status = 'failed';
CREATE INDEX ON differences (connection_id) WHERE status = 'confirmed' AND repaired_at IS NULL;
-- The records that a sync could not write.
CREATE INDEX ON dead_letters ((headers ->> 'slice'));
