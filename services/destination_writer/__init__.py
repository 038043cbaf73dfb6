"""Kafka → destinations: at-least-once transport, exactly-once effect. The newest version of each object wins, once."""
