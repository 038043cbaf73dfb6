-- A connection has a name of its own: one account can be connected to two destinations, and has one name at Stripe.
-- NULL is one that a service of the release before has made; its account's name stands for it.
ALTER TABLE connections ADD COLUMN name text CHECK (length(name) BETWEEN 1 AND 100);
CREATE UNIQUE INDEX ON connections (lower(name));
DO $$
DECLARE
    one record;
    candidate text;
    number integer;
BEGIN
    FOR one IN
        SELECT c.id,
               left(coalesce(nullif(btrim(regexp_replace(c.account_name, '[[:cntrl:]]+', ' ', 'g')), ''),
                             c.account_id), 50)
               || coalesce(' → ' || (SELECT left(min(d.name), 40) FROM connection_destinations l
                                     JOIN destinations d ON d.id = l.destination_id
                                     WHERE l.connection_id = c.id), '') AS name
        FROM connections c ORDER BY c.created_at, c.id
    LOOP
        candidate := one.name;
        number := 1;
        WHILE EXISTS (SELECT FROM connections WHERE lower(name) = lower(candidate)) LOOP
            number := number + 1;
            candidate := one.name || ' ' || number;
        END LOOP;
        UPDATE connections SET name = candidate WHERE id = one.id;
    END LOOP;
END $$;
-- The lists go by the name that is shown.
CREATE INDEX ON connections (lower(coalesce(name, account_name)), id);

-- A key that was tried says nothing of the key in use: the audit log tells of it, and the history of syncs does not.
DELETE FROM syncs WHERE kind = 'key_check';
ALTER TABLE syncs DROP CONSTRAINT syncs_kind_check, ADD CONSTRAINT syncs_kind_check
    CHECK (kind IN ('backfill', 'gap_fill', 'reconcile', 'live', 'manual', 'verify'));
