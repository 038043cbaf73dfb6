-- What the event changed in its object, at most 4 kB, encrypted; NULL where it tells of no change.
ALTER TABLE event_log ADD COLUMN changes bytea;
