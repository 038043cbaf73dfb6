-- A search for rows that a whole list did not show. Only writers hold the destinations, so one of them walks the table.
CREATE TABLE searches (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sync_id        text NOT NULL REFERENCES syncs ON DELETE CASCADE,
    connection_id  text NOT NULL REFERENCES connections ON DELETE CASCADE,
    destination_id text NOT NULL REFERENCES destinations ON DELETE CASCADE,
    resource       text NOT NULL,
    range_start    bigint,             -- what was listed: created >= range_start, Stripe's clock in seconds
    range_end      bigint,             -- created < range_end
    stamp          bigint NOT NULL,    -- what was listed has at least this one
    last_id        text,               -- how far the walk has come
    found          bigint NOT NULL DEFAULT 0,
    status         text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'done')),
    cause          text,               -- why it waits
    not_before     timestamptz NOT NULL DEFAULT now(),
    lease_until    timestamptz
);
CREATE INDEX ON searches (not_before) WHERE status = 'queued';
CREATE INDEX ON searches (sync_id);

-- A comparison of the rows with what Stripe has: a sync that writes nothing.
ALTER TABLE syncs
    DROP CONSTRAINT syncs_kind_check,
    ADD CONSTRAINT syncs_kind_check
        CHECK (kind IN ('backfill', 'gap_fill', 'reconcile', 'live', 'key_check', 'manual', 'verify')),
    ADD COLUMN sample_pages integer;  -- of a verify: pages that are read of each list; NULL: all
ALTER TABLE slices ADD COLUMN page_limit integer;  -- pages that are read of it; NULL: all

CREATE TABLE comparisons (
    sync_id        text NOT NULL REFERENCES syncs ON DELETE CASCADE,
    destination_id text NOT NULL,
    resource       text NOT NULL,
    compared       bigint NOT NULL DEFAULT 0,
    equal          bigint NOT NULL DEFAULT 0,
    newer          bigint NOT NULL DEFAULT 0,  -- an event had come meanwhile
    different      bigint NOT NULL DEFAULT 0,
    missing        bigint NOT NULL DEFAULT 0,
    extra          bigint NOT NULL DEFAULT 0,
    skipped        bigint NOT NULL DEFAULT 0,  -- the destination did not answer
    PRIMARY KEY (sync_id, destination_id, resource)
);

-- What a whole list has shown to a comparison, until that has ended.
CREATE TABLE compared_objects (
    sync_id   text NOT NULL REFERENCES syncs ON DELETE CASCADE,
    resource  text NOT NULL,
    object_id text NOT NULL,
    PRIMARY KEY (sync_id, resource, object_id)
);

-- Rows that are not what Stripe has. A difference is confirmed by a second look, since records may be on their way.
CREATE TABLE differences (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sync_id        text NOT NULL REFERENCES syncs ON DELETE CASCADE,
    connection_id  text NOT NULL REFERENCES connections ON DELETE CASCADE,
    destination_id text NOT NULL REFERENCES destinations ON DELETE CASCADE,
    resource       text NOT NULL,
    object_id      text NOT NULL,
    status         text NOT NULL CHECK (status IN ('absent', 'suspected', 'confirmed')),
    kind           text NOT NULL CHECK (kind IN ('different', 'missing', 'extra')),
    fields         text[] NOT NULL DEFAULT '{}',
    stamp          bigint NOT NULL DEFAULT 0,  -- of the state that the row was compared with
    body           bytea,                      -- that state, until the second look
    is_deleted     boolean NOT NULL DEFAULT false,
    due_at         timestamptz NOT NULL DEFAULT now(),
    repaired_at    timestamptz,                -- when a person asked for it to be put right
    UNIQUE (sync_id, destination_id, resource, object_id)
);
CREATE INDEX ON differences (due_at) WHERE status <> 'confirmed';
CREATE INDEX ON differences (sync_id, id) WHERE status = 'confirmed';
