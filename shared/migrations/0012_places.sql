-- Which installation this is: the mark that a destination leaves in its schema names it.
CREATE TABLE installation (
    is_only    boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    id         text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO installation (id) VALUES ('ins_' || replace(gen_random_uuid()::text, '-', ''));

-- Server, database and schema as the server itself names them; NULL: it does not tell, or was not asked yet.
ALTER TABLE destinations ADD COLUMN place text;
