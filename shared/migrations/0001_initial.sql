-- Where rows go. `settings` holds what may be shown; the password lies encrypted in `secret`.
CREATE TABLE destinations (
    id          text PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    kind        text NOT NULL,
    settings    jsonb NOT NULL,
    secret      bytea NOT NULL,
    address     text NOT NULL UNIQUE,  -- host, port, database and schema: one place is one destination
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- A Stripe account that is synced. The word that people see is derived from `state` and the open syncs.
CREATE TABLE connections (
    id                 text PRIMARY KEY,
    account_id         text NOT NULL,
    account_name       text NOT NULL,
    livemode           boolean NOT NULL,
    state              text NOT NULL CHECK (state IN ('setting_up', 'active', 'action_required', 'paused', 'removing')),
    cause_code         text,
    cause              text,
    api_key            bytea,
    key_hint           text NOT NULL,
    start_date         timestamptz,    -- NULL: everything that Stripe has
    resources          text[] NOT NULL,
    events_complete_to bigint,         -- Stripe's clock, in seconds: no event before it is missing
    live_by            text NOT NULL CHECK (live_by IN ('webhooks', 'polling')),
    last_event_at      timestamptz,
    last_synced_at     timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now()
);

-- The unique key holds the rule that one account and mode is delivered only once to one place.
CREATE TABLE connection_destinations (
    connection_id  text NOT NULL REFERENCES connections ON DELETE CASCADE,
    destination_id text NOT NULL REFERENCES destinations,
    account_id     text NOT NULL,
    livemode       boolean NOT NULL,
    PRIMARY KEY (connection_id, destination_id),
    UNIQUE (destination_id, account_id, livemode)
);

-- Our endpoint at Stripe; `id` is the last part of its URL.
CREATE TABLE webhook_endpoints (
    id             text PRIMARY KEY,
    connection_id  text NOT NULL UNIQUE REFERENCES connections ON DELETE CASCADE,
    url            text NOT NULL,
    stripe_id      text,
    enabled_events text[] NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE webhook_secrets (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint_id text NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    secret      bytea NOT NULL,
    expires_at  timestamptz,           -- NULL: the newest
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON webhook_secrets (endpoint_id);

-- One run of work that a person can see.
CREATE TABLE syncs (
    id            text PRIMARY KEY,
    connection_id text NOT NULL REFERENCES connections ON DELETE CASCADE,
    kind          text NOT NULL CHECK (kind IN ('backfill', 'gap_fill', 'reconcile', 'live', 'key_check', 'manual')),
    trigger       text NOT NULL,
    status        text NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    resources     text[] NOT NULL,
    range_start   timestamptz,
    range_end     timestamptz,
    cause_code    text,
    cause         text,
    stripe_calls  integer NOT NULL DEFAULT 0,
    rate_limited  integer NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz
);
CREATE INDEX ON syncs (connection_id, created_at DESC, id DESC);
CREATE INDEX ON syncs (created_at DESC, id DESC);
CREATE INDEX ON syncs (created_at) WHERE status IN ('queued', 'running');
CREATE INDEX ON syncs (connection_id, created_at DESC) WHERE kind = 'backfill';

-- A part of a sync that is fetched and checkpointed alone. `lease_token` fences a worker that slept past its lease.
CREATE TABLE slices (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sync_id        text NOT NULL REFERENCES syncs ON DELETE CASCADE,
    connection_id  text NOT NULL,
    resource       text NOT NULL,
    walk           smallint NOT NULL DEFAULT 0,
    range_start    bigint,             -- created >= range_start, Stripe's clock in seconds
    range_end      bigint,             -- created <  range_end
    cursor         text,               -- the last object that was published
    cursor_created bigint,
    status         text NOT NULL DEFAULT 'planned' CHECK (status IN ('planned', 'published', 'confirmed', 'failed')),
    cause_code     text,
    cause          text,
    pages          integer NOT NULL DEFAULT 0,
    records        bigint NOT NULL DEFAULT 0,
    cluster_id     text,               -- the broker that holds what was published
    lease_owner    text,
    lease_token    bigint NOT NULL DEFAULT 0,
    lease_until    timestamptz
);
CREATE INDEX ON slices (sync_id);
CREATE INDEX ON slices (connection_id, id) WHERE status IN ('planned', 'published');

CREATE TABLE slice_offsets (
    slice_id    bigint NOT NULL REFERENCES slices ON DELETE CASCADE,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    last_offset bigint NOT NULL,
    PRIMARY KEY (slice_id, topic, partition)
);

CREATE TABLE slice_counts (
    slice_id       bigint NOT NULL REFERENCES slices ON DELETE CASCADE,
    destination_id text NOT NULL,
    inserted       bigint NOT NULL DEFAULT 0,
    updated        bigint NOT NULL DEFAULT 0,
    unchanged      bigint NOT NULL DEFAULT 0,
    deleted        bigint NOT NULL DEFAULT 0,
    ignored        bigint NOT NULL DEFAULT 0,
    failed         bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (slice_id, destination_id)
);

-- How far the writers have come, advanced in the same transaction as the counts above: a record counts once.
CREATE TABLE writer_progress (
    cluster_id  text NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (cluster_id, topic, partition)
);

-- The newest record of an object that a destination could not take yet.
CREATE TABLE parked_records (
    destination_id text NOT NULL REFERENCES destinations ON DELETE CASCADE,
    connection_id  text NOT NULL,
    resource       text NOT NULL,
    object_id      text NOT NULL,
    stamp          bigint NOT NULL,
    body           bytea NOT NULL,
    origin         text NOT NULL,
    is_deleted     boolean NOT NULL,
    slice_id       bigint,
    topic          text NOT NULL,
    partition      integer NOT NULL,
    record_offset  bigint NOT NULL,
    reason         text NOT NULL,
    attempts       integer NOT NULL DEFAULT 0,
    parked_at      timestamptz NOT NULL DEFAULT now(),
    next_try_at    timestamptz NOT NULL,
    PRIMARY KEY (destination_id, connection_id, resource, object_id)
);
CREATE INDEX ON parked_records (next_try_at);
CREATE INDEX ON parked_records (slice_id) WHERE slice_id IS NOT NULL;

-- What can never be written, and signed webhooks that can't be used.
CREATE TABLE dead_letters (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stage          text NOT NULL,
    code           text NOT NULL,
    reason         text NOT NULL,
    connection_id  text,
    destination_id text NOT NULL DEFAULT '',
    topic          text NOT NULL,
    partition      integer NOT NULL,
    record_offset  bigint NOT NULL,
    key            text,
    headers        jsonb NOT NULL DEFAULT '{}',
    body           bytea NOT NULL,
    attempts       integer NOT NULL DEFAULT 1,
    first_seen_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (topic, partition, record_offset, destination_id)
);
CREATE INDEX ON dead_letters (connection_id, id DESC);

-- Objects that Stripe must be asked about, once each; '*' asks for the newest of the resource's list.
CREATE TABLE refetches (
    connection_id text NOT NULL REFERENCES connections ON DELETE CASCADE,
    resource      text NOT NULL,
    object_id     text NOT NULL,
    reason        text NOT NULL,
    generation    bigint NOT NULL DEFAULT 1,  -- grows when asked again, so that an answer under way does not hide it
    due_at        timestamptz NOT NULL,
    lease_until   timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    PRIMARY KEY (connection_id, resource, object_id)
);
CREATE INDEX ON refetches (due_at);

-- How far the newest of a list has been listed again, in Stripe's clock.
CREATE TABLE list_tails (
    connection_id text NOT NULL REFERENCES connections ON DELETE CASCADE,
    resource      text NOT NULL,
    listed_to     bigint NOT NULL,
    PRIMARY KEY (connection_id, resource)
);

-- Every event that reached a destination or was answered by asking Stripe; kept for 35 days.
CREATE TABLE event_log (
    connection_id text NOT NULL REFERENCES connections ON DELETE CASCADE,
    event_id      text NOT NULL,
    type          text NOT NULL,
    resource      text,
    object_id     text,
    created       bigint NOT NULL,
    outcome       text NOT NULL,
    partition     integer,
    record_offset bigint,
    received_at   timestamptz,
    written_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection_id, event_id)
);
CREATE INDEX ON event_log (connection_id, object_id);
CREATE INDEX ON event_log (written_at);

CREATE TABLE delivery_hours (
    connection_id  text NOT NULL REFERENCES connections ON DELETE CASCADE,
    destination_id text NOT NULL,
    resource       text NOT NULL,
    hour           timestamptz NOT NULL,
    inserted       bigint NOT NULL DEFAULT 0,
    updated        bigint NOT NULL DEFAULT 0,
    unchanged      bigint NOT NULL DEFAULT 0,
    deleted        bigint NOT NULL DEFAULT 0,
    ignored        bigint NOT NULL DEFAULT 0,
    failed         bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (connection_id, destination_id, resource, hour)
);
CREATE INDEX ON delivery_hours (connection_id, hour);

-- Stripe's allowance, shared by every process: the moment at which the next call is due.
CREATE UNLOGGED TABLE stripe_budgets (
    scope   text PRIMARY KEY,
    next_at timestamptz NOT NULL
);

-- Work that only one process may do at a time.
CREATE TABLE leases (
    name  text PRIMARY KEY,
    owner text NOT NULL,
    until timestamptz NOT NULL
);

CREATE TABLE api_tokens (
    id           text PRIMARY KEY,
    name         text NOT NULL,
    hash         bytea NOT NULL UNIQUE,
    scope        text NOT NULL CHECK (scope IN ('read', 'manage', 'admin')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    expires_at   timestamptz
);

-- One-time links for signing in, and the sessions that they open.
CREATE TABLE sign_in_links (
    hash       bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE TABLE sessions (
    hash       bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
