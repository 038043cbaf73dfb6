-- Turns are taken by connection: whose slices and questions wait is found without a look at each of them.
CREATE INDEX ON slices (connection_id, resource, id) WHERE status = 'planned';
CREATE INDEX ON slices (lease_until) WHERE status = 'planned' AND lease_until IS NOT NULL;
CREATE INDEX ON refetches (connection_id, due_at);
