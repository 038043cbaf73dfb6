-- The answers to requests that may be repeated name accounts and connections: they lie sealed (headers and body as one
-- ciphertext, bound to caller and key), and go with the connection or the account that they name. What was kept in clear
-- goes now: it would have gone within a day.
DELETE FROM idempotency_keys;
ALTER TABLE idempotency_keys
    DROP COLUMN content_type,
    DROP COLUMN body,
    ADD COLUMN answer bytea,
    ADD COLUMN names  text[] NOT NULL DEFAULT '{}';  -- ids of connections and accounts
CREATE INDEX ON idempotency_keys USING gin (names);

-- Where a set-up has led to, so that whoever comes back to it finds the account.
ALTER TABLE connections ADD COLUMN setup_id text;
CREATE INDEX ON connections (setup_id) WHERE setup_id IS NOT NULL;

CREATE INDEX ON webhook_secrets (expires_at) WHERE expires_at IS NOT NULL;
