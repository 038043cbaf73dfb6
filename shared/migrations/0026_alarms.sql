-- Where alarms go. The address can hold a secret, as Slack's does, so it lies encrypted; `shown` is what pages say of it.
CREATE TABLE alarm_channels (
    id         text PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('webhook', 'slack', 'email')),
    shown      text NOT NULL,
    address    bytea NOT NULL,
    secret     bytea,                     -- with which a webhook is signed
    events     text[] NOT NULL,
    quiet      jsonb,                     -- begin, end and zone of the hours in which nothing is told
    created_at timestamptz NOT NULL DEFAULT now()
);

-- What a channel was last told of a connection, and since when that has changed; no row: nothing.
CREATE TABLE alarm_memories (
    channel_id    text NOT NULL REFERENCES alarm_channels ON DELETE CASCADE,
    connection_id text NOT NULL REFERENCES connections ON DELETE CASCADE,
    memory        jsonb NOT NULL,
    PRIMARY KEY (connection_id, channel_id)
);
CREATE INDEX ON alarm_memories (channel_id);

-- Messages, for 35 days. `next_try_at` is NULL once a message has arrived or was given up.
CREATE TABLE alarm_messages (
    id            text PRIMARY KEY,
    channel_id    text NOT NULL REFERENCES alarm_channels ON DELETE CASCADE,
    connection_id text REFERENCES connections ON DELETE CASCADE,
    event         text NOT NULL,
    sentence      text NOT NULL,
    url           text,                   -- the page that tells more
    created_at    timestamptz NOT NULL DEFAULT now(),
    sent_at       timestamptz,
    attempts      integer NOT NULL DEFAULT 0,
    last_error    text,
    next_try_at   timestamptz
);
CREATE INDEX ON alarm_messages (next_try_at) WHERE next_try_at IS NOT NULL;
CREATE INDEX ON alarm_messages (created_at, id);
CREATE INDEX ON alarm_messages (channel_id, created_at);
CREATE INDEX ON alarm_messages (connection_id);
