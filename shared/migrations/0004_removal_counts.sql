-- What the step that is under way has counted so far, so that one that was cut off goes on counting.
ALTER TABLE removals ADD COLUMN counts jsonb NOT NULL DEFAULT '{}';
