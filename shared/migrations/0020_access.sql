-- A link opens one session. It stays until it expires, so that whoever opens it again is told when it was used.
-- `credential` is the hash of the token with which the link was made: its sessions end with that token.
ALTER TABLE sign_in_links
    ADD COLUMN credential bytea,
    ADD COLUMN used_at    timestamptz;
ALTER TABLE sessions
    ADD COLUMN id         text UNIQUE DEFAULT 'ses_' || left(replace(gen_random_uuid()::text, '-', ''), 16),
    ADD COLUMN person     text NOT NULL DEFAULT '',  -- the name that was given at sign-in
    ADD COLUMN address    text NOT NULL DEFAULT '',
    ADD COLUMN credential bytea,
    ADD COLUMN opened_at  timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN used_at    timestamptz NOT NULL DEFAULT now();
UPDATE sessions SET id = 'ses_' || left(encode(hash, 'hex'), 16);
ALTER TABLE sessions ALTER COLUMN id SET NOT NULL;

-- Who did something is a person in a session or a token, at an address.
ALTER TABLE audit_log
    ADD COLUMN person  text NOT NULL DEFAULT '',
    ADD COLUMN address text NOT NULL DEFAULT '';

-- Entries are only ever added. The constraint class of the error says that trying again is of no use.
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log is only ever added to.' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_log_rows_stay BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER audit_log_stays BEFORE TRUNCATE ON audit_log EXECUTE FUNCTION refuse_audit_change();

-- The head of the chain at some moments, sealed by the services' key: whoever can write to the database alone can't
-- make another chain that fits it.
CREATE TABLE audit_seals (
    entry_id  bigint PRIMARY KEY,
    seal      bytea NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT now()
);
