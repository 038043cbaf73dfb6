-- What a sync's slices add up to is noted in its own row when it ends, so that a list reads one row for each.
ALTER TABLE syncs ADD COLUMN share real NOT NULL DEFAULT 0;  -- how far it came, from 0 to 1

UPDATE syncs y SET
    share = CASE WHEN y.status = 'succeeded' THEN 1 ELSE 0 END,
    records = coalesce((SELECT sum(s.records) FROM slices s WHERE s.sync_id = y.id), 0),
    (inserted, updated, unchanged, deleted, ignored, failed) = (
        SELECT coalesce(sum(c.inserted), 0), coalesce(sum(c.updated), 0), coalesce(sum(c.unchanged), 0),
               coalesce(sum(c.deleted), 0), coalesce(sum(c.ignored), 0), coalesce(sum(c.failed), 0)
        FROM slices s JOIN slice_counts c ON c.slice_id = s.id WHERE s.sync_id = y.id)
WHERE y.finished_at IS NOT NULL;

-- One for each set of filters, so that the first page of any of them is read from its index alone.
CREATE INDEX ON syncs (connection_id, status, created_at DESC, id DESC);
CREATE INDEX ON syncs (kind, status, created_at DESC, id DESC);
CREATE INDEX ON syncs (connection_id, kind, status, created_at DESC, id DESC);
-- A cancelled sync ends once the writers are done with what it had published.
CREATE INDEX ON syncs (created_at) WHERE status = 'cancelled' AND finished_at IS NULL;
