-- Anybody can send what no secret of ours has signed: only an event that no webhook told shows that Stripe sent it.
ALTER TABLE webhook_refusals ADD COLUMN missed_at timestamptz;  -- when the feed had such an event; NULL: not so far
