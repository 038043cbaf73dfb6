-- Dead letters with one cause are one group. A reason without its variable parts (ids, quoted values, numbers other
-- than an SQLSTATE) is its summary.
CREATE FUNCTION dead_letter_summary(reason text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN
    regexp_replace(regexp_replace(regexp_replace(reason,
        '\m[a-zA-Z]+_\w*\d\w*\M', '…', 'g'),
        '(^|\W)(''[^'']*''|"[^"]*")', '\1…', 'g'),
        '(?<!SQLSTATE )\m\d+(\.\d+)?\M', '…', 'g');

ALTER TABLE dead_letters
    ADD COLUMN resource     text,
    ADD COLUMN object_id    text,
    ADD COLUMN last_seen_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN replay_id    text,  -- the replay that has it; NULL: none
    ADD COLUMN is_published boolean NOT NULL DEFAULT false,  -- by that replay
    ADD COLUMN is_parked    boolean NOT NULL DEFAULT false,  -- what was published waits for its destination
    ADD COLUMN summary      text NOT NULL GENERATED ALWAYS AS (dead_letter_summary(reason)) STORED;
ALTER TABLE dead_letters
    ADD COLUMN group_id text NOT NULL GENERATED ALWAYS AS (
        'grp_' || md5(coalesce(connection_id, '') || chr(31) || destination_id || chr(31) || code || chr(31)
                      || coalesce(resource, '') || chr(31) || dead_letter_summary(reason))) STORED;
-- One for each filter, so that a first page is read from its index alone.
CREATE INDEX ON dead_letters (group_id, id DESC);
CREATE INDEX ON dead_letters (destination_id, id DESC);
CREATE INDEX ON dead_letters (code, id DESC);
CREATE INDEX ON dead_letters (resource, id DESC);
CREATE INDEX ON dead_letters (first_seen_at);
CREATE INDEX ON dead_letters (replay_id, id) WHERE replay_id IS NOT NULL;

-- What the letters of a group add up to, kept by the triggers below whoever adds and deletes letters.
CREATE TABLE dead_letter_groups (
    id             text PRIMARY KEY,
    connection_id  text,
    destination_id text NOT NULL,
    code           text NOT NULL,
    resource       text,
    summary        text NOT NULL,
    letters        bigint NOT NULL,
    first_seen_at  timestamptz NOT NULL,
    last_seen_at   timestamptz NOT NULL
);
CREATE INDEX ON dead_letter_groups (last_seen_at DESC, id DESC);
CREATE INDEX ON dead_letter_groups (connection_id, last_seen_at DESC, id DESC);

INSERT INTO dead_letter_groups
SELECT group_id, connection_id, destination_id, code, resource, summary, count(*), min(first_seen_at), max(last_seen_at)
FROM dead_letters GROUP BY 1, 2, 3, 4, 5, 6;

CREATE FUNCTION count_dead_letters() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Groups are changed in the order of their ids, so that two of these never wait for each other.
    IF TG_OP <> 'INSERT' THEN
        PERFORM FROM dead_letter_groups g WHERE g.id IN (SELECT group_id FROM gone) ORDER BY g.id FOR UPDATE;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO dead_letter_groups AS g
        SELECT n.group_id, n.connection_id, n.destination_id, n.code, n.resource, n.summary,
               count(*) FILTER (WHERE n.group_id <> o.group_id), min(n.first_seen_at), max(n.last_seen_at)
        FROM come n JOIN gone o USING (id)
        WHERE n.group_id <> o.group_id OR n.last_seen_at <> o.last_seen_at GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1
        ON CONFLICT (id) DO UPDATE SET letters = g.letters + excluded.letters,
            first_seen_at = least(g.first_seen_at, excluded.first_seen_at),
            last_seen_at = greatest(g.last_seen_at, excluded.last_seen_at);
        UPDATE dead_letter_groups g SET letters = g.letters - c.number
        FROM (SELECT o.group_id, count(*) AS number FROM gone o JOIN come n USING (id)
              WHERE n.group_id <> o.group_id GROUP BY 1) c WHERE g.id = c.group_id;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO dead_letter_groups AS g
        SELECT group_id, connection_id, destination_id, code, resource, summary, count(*), min(first_seen_at),
               max(last_seen_at)
        FROM come GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1
        ON CONFLICT (id) DO UPDATE SET letters = g.letters + excluded.letters,
            first_seen_at = least(g.first_seen_at, excluded.first_seen_at),
            last_seen_at = greatest(g.last_seen_at, excluded.last_seen_at);
    ELSE
        UPDATE dead_letter_groups g SET letters = g.letters - c.number
        FROM (SELECT group_id, count(*) AS number FROM gone GROUP BY 1) c WHERE g.id = c.group_id;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM dead_letter_groups g USING gone o WHERE g.id = o.group_id AND g.letters <= 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_added AFTER INSERT ON dead_letters
    REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters();
CREATE TRIGGER count_changed AFTER UPDATE ON dead_letters
    REFERENCING OLD TABLE AS gone NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters();
CREATE TRIGGER count_deleted AFTER DELETE ON dead_letters
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters();

-- A request to try dead letters again. It goes through them in the order of their numbers, each once.
CREATE TABLE dead_letter_replays (
    id           text PRIMARY KEY,
    chosen       jsonb NOT NULL,           -- ids, or a filter
    up_to        bigint NOT NULL,          -- letters with a higher number came later and are not meant
    cursor       bigint NOT NULL DEFAULT 0,
    status       text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'done')),
    is_walked    boolean NOT NULL DEFAULT false,  -- every letter was published, asked for or left
    letters      bigint NOT NULL,
    written      bigint NOT NULL DEFAULT 0,
    asked        bigint NOT NULL DEFAULT 0,  -- Stripe was asked for the object instead
    failed       bigint NOT NULL DEFAULT 0,  -- again
    skipped      bigint NOT NULL DEFAULT 0,  -- can't be replayed
    note         text,                       -- why the first of those can't
    requested_at timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    lease_until  timestamptz
);
CREATE INDEX ON dead_letter_replays (requested_at DESC, id DESC);
CREATE INDEX ON dead_letter_replays (requested_at) WHERE status = 'running';

-- Where delivery has stopped, because too many records became dead letters; until a person lets it go on.
CREATE TABLE delivery_stops (
    connection_id  text NOT NULL,
    destination_id text NOT NULL,
    failed         integer NOT NULL,  -- of the records that were counted
    counted        integer NOT NULL,
    reason         text NOT NULL,     -- of the last one that failed
    stopped_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection_id, destination_id),
    FOREIGN KEY (connection_id, destination_id) REFERENCES connection_destinations ON DELETE CASCADE
);
