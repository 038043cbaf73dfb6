-- What pictures show, an hour a row, so that no page has to count what lies behind it.
-- `delays` counts events by how long they took from their arrival to the last destination's answer: a number for each
-- bucket of shared/delay_buckets.py.
CREATE TABLE event_hours (
    connection_id text NOT NULL REFERENCES connections ON DELETE CASCADE,
    hour          timestamptz NOT NULL,
    events        bigint NOT NULL DEFAULT 0,
    delays        bigint[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (connection_id, hour)
);
CREATE INDEX ON event_hours (hour);
-- What came before shows at once; how long each took is known from now on.
INSERT INTO event_hours (connection_id, hour, events)
SELECT connection_id, date_trunc('hour', coalesce(received_at, written_at)), count(*) FROM event_log GROUP BY 1, 2;

-- The newest event of each resource, in Stripe's clock, and how long it took to be written; NULL: it is not yet.
CREATE TABLE resource_news (
    connection_id text NOT NULL REFERENCES connections ON DELETE CASCADE,
    resource      text NOT NULL,
    created       bigint NOT NULL,
    seconds       double precision,
    PRIMARY KEY (connection_id, resource)
);
INSERT INTO resource_news (connection_id, resource, created)
SELECT connection_id, resource, max(created) FROM event_log WHERE resource IS NOT NULL GROUP BY 1, 2;

-- Calls that were made of Stripe: unlogged, so that no call waits for the disk.
-- The scope is that of `stripe_budgets`: an account and its mode.
CREATE UNLOGGED TABLE stripe_hours (
    scope text NOT NULL,
    hour  timestamptz NOT NULL,
    calls bigint NOT NULL,
    PRIMARY KEY (scope, hour)
);
CREATE INDEX ON stripe_hours (hour);

-- What all accounts together have written since an hour.
CREATE INDEX ON delivery_hours (hour);
