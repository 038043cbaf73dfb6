"""What is synced: the fields of each resource, to be left out by a tick."""
