"""The REST API: one table of operations, its models, and the routes that answer."""
