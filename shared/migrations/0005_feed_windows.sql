-- When a slice's first page was read, in Stripe's clock, in seconds. The least of a sync's slices of the event feed says
-- before which second no event is missing.
ALTER TABLE slices ADD COLUMN read_at bigint;

-- How often the event feed of a connection is polled at present.
CREATE TABLE polls (
    connection_id text PRIMARY KEY REFERENCES connections ON DELETE CASCADE,
    polled_at     timestamptz NOT NULL,
    pause_seconds double precision NOT NULL
);
