-- What became of each event at each destination: destination → {outcome, reason, at, parked_at}, `at` in Unix seconds.
-- Where Stripe was asked, `answers` says the same of its answer.
ALTER TABLE event_log
    ADD COLUMN deliveries jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN answers    jsonb NOT NULL DEFAULT '{}';
