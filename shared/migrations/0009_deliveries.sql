-- What became of each event at each destination: destination → {outcome, reason, at, parked_at}, `at` in Unix seconds.
-- Where Stripe was asked, `answers` says the same of its answer.
ALTER TABLE event_log
    ADD COLUMN deliveries jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN answers    jsonb NOT NULL DEFAULT '{}';

-- What a destination could not take when as much waited for it as may: which records it lacks, in Stripe's clock. The
-- gap is filled once nothing waits for the destination any more.
CREATE TABLE delivery_gaps (
    destination_id text NOT NULL REFERENCES destinations ON DELETE CASCADE,
    connection_id  text NOT NULL REFERENCES connections ON DELETE CASCADE,
    resource       text NOT NULL,
    slice_id       bigint NOT NULL DEFAULT 0,  -- 0: of no slice
    since          bigint,             -- of events: the first stamp; NULL: only questions for Stripe wait for it
    until          bigint,             -- of events: the last stamp
    records        bigint NOT NULL,
    version        bigint NOT NULL DEFAULT 1,  -- grows with each record, so that one that is being filled stays
    noted_at       timestamptz NOT NULL DEFAULT now(),
    lease_until    timestamptz,
    PRIMARY KEY (destination_id, connection_id, resource, slice_id)
);
CREATE INDEX ON delivery_gaps (slice_id) WHERE slice_id <> 0;
CREATE INDEX ON delivery_gaps (connection_id);

-- What becomes of the row of an object that is deleted: it is marked, or it goes and leaves a tombstone beside.
ALTER TABLE destinations
    ADD COLUMN deleted_rows text NOT NULL DEFAULT 'marked' CHECK (deleted_rows IN ('marked', 'removed'));
ALTER TABLE cleanups
    DROP CONSTRAINT cleanups_kind_check,
    ADD CONSTRAINT cleanups_kind_check CHECK (kind IN ('rows', 'fields', 'deleted'));
