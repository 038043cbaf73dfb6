"""The REST API and the dashboard: destinations, connections, syncs, events, sign-in."""
