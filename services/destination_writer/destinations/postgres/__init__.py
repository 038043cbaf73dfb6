"""Postgres as a destination: one table per resource, the whole object as jsonb beside guarded typed columns."""

from services.destination_writer.destinations.postgres.destination import PostgresDestination

__all__ = ["PostgresDestination"]
