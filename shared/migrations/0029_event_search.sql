-- An object is found by the beginning of its id, in every collation; it is found by its whole id as before.
CREATE INDEX event_log_object ON event_log (connection_id, object_id text_pattern_ops);
DROP INDEX event_log_connection_id_object_id_idx;
-- Events that need somebody are few among many.
CREATE INDEX ON event_log (outcome, written_at) WHERE outcome IN ('failed', 'parked', 'left_out');
