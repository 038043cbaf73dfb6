-- When a connection's rows are compared with Stripe by themselves; a connection without a row here is compared never.
CREATE TABLE verify_schedules (
    connection_id text PRIMARY KEY REFERENCES connections ON DELETE CASCADE,
    how_often     text NOT NULL CHECK (how_often IN ('never', 'daily', 'weekly')),
    hour          integer NOT NULL CHECK (hour BETWEEN 0 AND 23),  -- of the day in `zone`
    zone          text NOT NULL CHECK (length(zone) BETWEEN 1 AND 64),
    pages         integer NOT NULL CHECK (pages BETWEEN 1 AND 20),  -- the budget: pages that are read of each list
    next_run_at   timestamptz,
    CHECK ((how_often = 'never') = (next_run_at IS NULL))
);
CREATE INDEX ON verify_schedules (next_run_at);
