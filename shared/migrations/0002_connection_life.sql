-- A key that is replaced gets the next version: what a call with the old one tells is not held against the new one.
ALTER TABLE connections
    ADD COLUMN key_version    integer NOT NULL DEFAULT 1,
    ADD COLUMN key_tries      integer NOT NULL DEFAULT 0,  -- calls since Stripe refused the key
    ADD COLUMN key_try_at     timestamptz,                 -- when a refused key is tried again
    ADD COLUMN omitted_fields jsonb NOT NULL DEFAULT '{}'; -- resource → paths that are never written
CREATE INDEX ON connections (lower(account_name));

ALTER TABLE destinations ADD COLUMN version integer NOT NULL DEFAULT 1;  -- grows when address or password change

-- A resource that the key may not read any more: it alone stops, and is tried again.
CREATE TABLE resource_faults (
    connection_id text NOT NULL REFERENCES connections ON DELETE CASCADE,
    resource      text NOT NULL,
    code          text NOT NULL,
    cause         text NOT NULL,
    permission    text,                -- as Stripe names it, such as rak_charge_read
    since         timestamptz NOT NULL DEFAULT now(),
    tries         integer NOT NULL DEFAULT 0,
    next_try_at   timestamptz NOT NULL,
    PRIMARY KEY (connection_id, resource)
);
CREATE INDEX ON resource_faults (next_try_at);

-- A sync can wait for a person, and be about one object. Its counts are its own once it has ended; of an hour of live
-- changes they always are.
ALTER TABLE syncs
    DROP CONSTRAINT syncs_status_check,
    ADD CONSTRAINT syncs_status_check
        CHECK (status IN ('queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')),
    ADD COLUMN object_id text,
    ADD COLUMN not_before timestamptz,  -- when it may begin; NULL: at once
    ADD COLUMN records   bigint NOT NULL DEFAULT 0,
    ADD COLUMN inserted  bigint NOT NULL DEFAULT 0,
    ADD COLUMN updated   bigint NOT NULL DEFAULT 0,
    ADD COLUMN unchanged bigint NOT NULL DEFAULT 0,
    ADD COLUMN deleted   bigint NOT NULL DEFAULT 0,
    ADD COLUMN ignored   bigint NOT NULL DEFAULT 0,
    ADD COLUMN failed    bigint NOT NULL DEFAULT 0;
CREATE INDEX ON syncs (kind, created_at DESC, id DESC);
CREATE INDEX ON syncs (status, created_at DESC, id DESC);
CREATE INDEX ON syncs (connection_id, kind, created_at DESC, id DESC);
CREATE INDEX ON syncs (range_end) WHERE kind = 'live' AND status = 'running';
ALTER TABLE slices ADD COLUMN object_id text;  -- the slice is this object alone

-- What a writer has to take out of a destination: rows of a connection, or fields of its rows.
CREATE TABLE cleanups (
    id             text PRIMARY KEY,
    connection_id  text NOT NULL,
    destination_id text NOT NULL REFERENCES destinations ON DELETE CASCADE,
    account_id     text NOT NULL,
    livemode       boolean NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('rows', 'fields')),
    created_before timestamptz,            -- rows: only of objects made before it; NULL: all
    resources      text[] NOT NULL DEFAULT '{}',  -- of these only
    fields         jsonb NOT NULL DEFAULT '{}',   -- fields: resource → paths
    status         text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'done')),
    affected       jsonb NOT NULL DEFAULT '{}',   -- table → rows
    cause          text,                   -- why the last try failed
    not_before     timestamptz NOT NULL DEFAULT now(),
    lease_until    timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    finished_at    timestamptz
);
CREATE INDEX ON cleanups (not_before) WHERE status = 'queued';
CREATE INDEX ON cleanups (connection_id);

-- The removal of a connection and, once finished, its receipt: ids, counts and hashes, nothing else.
CREATE TABLE removals (
    id            text PRIMARY KEY,
    connection_id text NOT NULL UNIQUE,
    account_id    text NOT NULL,
    livemode      boolean NOT NULL,
    deletes_rows  boolean NOT NULL,
    status        text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'done')),
    steps         jsonb NOT NULL DEFAULT '[]',   -- [{name, at, counts, note}], in the order in which they were done
    cause         text,                          -- why the current step waits
    requested_at  timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    lease_until   timestamptz
);
CREATE INDEX ON removals (requested_at DESC, id DESC);

-- A connection that is being made: the key is kept for a day, so that a set-up can be taken up again.
CREATE TABLE setups (
    id              text PRIMARY KEY,
    destination_ids text[] NOT NULL,
    api_key         bytea NOT NULL,
    key_hint        text NOT NULL,
    account_id      text NOT NULL,
    account_name    text NOT NULL,
    livemode        boolean NOT NULL,
    key_check       jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL
);

-- An endpoint that is made at Stripe only to prove that the key may; deleted at once, and after a crash by the sweep.
CREATE TABLE endpoint_probes (
    id         text PRIMARY KEY,   -- the last part of its URL
    api_key    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Who did what, each entry bound to the one before it by its hash.
CREATE TABLE audit_log (
    id            bigint PRIMARY KEY,
    at            timestamptz NOT NULL,
    actor         text NOT NULL,
    action        text NOT NULL,
    subject       text NOT NULL,       -- the id of what it was done to
    details       jsonb NOT NULL,      -- ids, counts, hashes; never a name, a secret or a row
    request_id    text NOT NULL,
    previous_hash bytea NOT NULL,
    hash          bytea NOT NULL
);
CREATE INDEX ON audit_log (subject, id DESC);

-- Answers to POST requests that carried an Idempotency-Key, for a day.
CREATE TABLE idempotency_keys (
    caller       text NOT NULL,
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    status       integer,              -- NULL while the first request is being answered
    content_type text,
    body         bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, key)
);
CREATE INDEX ON idempotency_keys (created_at);

ALTER TABLE api_tokens ADD COLUMN revoked_at timestamptz;

-- The states of connections and syncs, edge by edge; ARCHITECTURE.md draws them. Whatever the code does, no row takes
-- another way.
CREATE TABLE state_edges (
    kind  text NOT NULL,
    above text NOT NULL,
    below text NOT NULL,
    PRIMARY KEY (kind, above, below)
);
INSERT INTO state_edges (kind, above, below) VALUES
    ('connection', 'setting_up', 'active'),
    ('connection', 'setting_up', 'action_required'),
    ('connection', 'active', 'action_required'),
    ('connection', 'active', 'paused'),
    ('connection', 'paused', 'active'),
    ('connection', 'action_required', 'active'),
    ('connection', 'action_required', 'setting_up'),
    ('connection', 'setting_up', 'removing'),
    ('connection', 'active', 'removing'),
    ('connection', 'paused', 'removing'),
    ('connection', 'action_required', 'removing'),
    ('sync', 'queued', 'running'),
    ('sync', 'queued', 'paused'),
    ('sync', 'running', 'paused'),
    ('sync', 'paused', 'queued'),
    ('sync', 'paused', 'running'),
    ('sync', 'running', 'succeeded'),
    ('sync', 'running', 'failed'),
    ('sync', 'queued', 'cancelled'),
    ('sync', 'running', 'cancelled'),
    ('sync', 'paused', 'cancelled');

CREATE FUNCTION require_edge() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was  text := to_jsonb(OLD) ->> TG_ARGV[1];
    will text := to_jsonb(NEW) ->> TG_ARGV[1];
    ok   boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %I.state_edges WHERE (kind, above, below) = ($1, $2, $3))',
                   TG_TABLE_SCHEMA) INTO ok USING TG_ARGV[0], was, will;
    IF NOT ok THEN
        RAISE EXCEPTION 'A % does not go from % to %.', TG_ARGV[0], was, will;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER require_edge BEFORE UPDATE OF state ON connections
    FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION require_edge('connection', 'state');
CREATE TRIGGER require_edge BEFORE UPDATE OF status ON syncs
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION require_edge('sync', 'status');
