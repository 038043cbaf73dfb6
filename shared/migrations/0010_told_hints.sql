-- A hint needs no question once an event of the object itself, of the same second or later, has told as much.
ALTER TABLE refetches
    ADD COLUMN told_by   text,    -- that event's type; NULL: only Stripe's answer will do
    ADD COLUMN hinted_at bigint;  -- second of the hint, in Stripe's clock
