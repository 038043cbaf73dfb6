-- What a broker keeps is a log: offsets mean something only within one. Where `cluster_id` stands beside offsets, it
-- names the log: the broker's cluster id, from the second log on followed by its life.
CREATE TABLE broker_logs (
    cluster_id text PRIMARY KEY,
    life       integer NOT NULL UNIQUE,     -- the number of the log: the next one whenever records were lost
    mark       text NOT NULL,               -- lies on the broker too; where it is gone, so are the records
    is_current boolean NOT NULL DEFAULT true,
    seen_at    timestamptz NOT NULL DEFAULT now(),  -- when a worker has last found it there
    marked_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX ON broker_logs (is_current) WHERE is_current;

-- What Stripe answered and no writer has passed yet: the question is asked again when the broker loses the answer.
CREATE TABLE answers (
    connection_id text NOT NULL REFERENCES connections ON DELETE CASCADE,
    resource      text NOT NULL,
    object_id     text NOT NULL,
    topic         text NOT NULL,
    partition     integer NOT NULL,
    log_id        text NOT NULL,
    last_offset   bigint NOT NULL,
    listed_from   bigint,               -- of the newest part of a list: where it was begun, in Stripe's clock
    PRIMARY KEY (connection_id, resource, object_id, topic, partition)
);

-- Offsets that a writer was not given. Until it is known whether the broker has let them go, what they were part of is
-- not taken for written.
CREATE TABLE broker_gaps (
    log_id      text NOT NULL,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    from_offset bigint NOT NULL,
    PRIMARY KEY (log_id, topic, partition)
);

-- In Stripe's clock, in seconds: every event before it is written, not only published. NULL: not known yet.
ALTER TABLE connections ADD COLUMN events_written_to bigint;

-- The same offset of another log is another record.
ALTER TABLE dead_letters
    ADD COLUMN log_id text NOT NULL DEFAULT '',  -- '': of the current one
    DROP CONSTRAINT dead_letters_topic_partition_record_offset_destination_id_key,
    ADD CONSTRAINT dead_letters_position UNIQUE (topic, partition, record_offset, destination_id, log_id);
