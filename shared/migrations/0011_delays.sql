-- Work that is tried again until it succeeds: why it waits, since when, how often it was tried, and when it is tried
-- next. One row for each piece of work; the row goes when the work succeeds or is given up.
CREATE TABLE delays (
    work           text NOT NULL CHECK (work IN ('destination', 'slice', 'cleanup', 'removal', 'question')),
    work_id        text NOT NULL,      -- the id of that destination, slice, cleanup or removal; of a question its key
    connection_id  text,               -- whose work it is; NULL: of every connection of the destination
    destination_id text REFERENCES destinations ON DELETE CASCADE,
    sync_id        text REFERENCES syncs ON DELETE CASCADE,
    code           text NOT NULL,
    cause          text NOT NULL,      -- a sentence for people
    fix            text,               -- a sentence: what a person does about it; NULL: it goes on by itself
    since          timestamptz NOT NULL DEFAULT now(),
    attempts       integer NOT NULL DEFAULT 1,
    next_try_at    timestamptz NOT NULL,
    PRIMARY KEY (work, work_id)
);
CREATE INDEX ON delays (connection_id);
CREATE INDEX ON delays (destination_id);
CREATE INDEX ON delays (sync_id);

-- Webhooks that a gateway refused at one of our endpoints since it last accepted one there.
CREATE TABLE webhook_refusals (
    endpoint_id  text PRIMARY KEY REFERENCES webhook_endpoints ON DELETE CASCADE,
    code         text NOT NULL,        -- of the newest refusal
    refused      bigint NOT NULL,
    skew_seconds integer,              -- newest signature's time minus our clock; NULL: no time could be read
    since        timestamptz NOT NULL DEFAULT now(),
    last_at      timestamptz NOT NULL DEFAULT now()
);
