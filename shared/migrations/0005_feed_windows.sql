-- When a slice's first page was read, in Stripe's clock, in seconds. The least of a sync's slices of the event feed says
-- before which second no event is missing.
ALTER TABLE slices ADD COLUMN read_at bigint;
