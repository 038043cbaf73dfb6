-- What was chosen for the whole installation; what is not here is as it always was.
CREATE TABLE choices (
    name       text PRIMARY KEY,
    value      text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- The accounts that a message is about. One that is about several has no connection_id, its sentence is what they share,
-- and their names are looked up when it is shown.
ALTER TABLE alarm_messages ADD COLUMN connection_ids text[] NOT NULL DEFAULT '{}';
UPDATE alarm_messages SET connection_ids = ARRAY[connection_id] WHERE connection_id IS NOT NULL;

-- A mail address is a person's: of it only the first letter and the host are kept readable.
UPDATE alarm_channels SET shown = left(shown, 1) || '…' || substring(shown FROM '@.*$') WHERE kind = 'email';
