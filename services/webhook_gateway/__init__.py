"""Stripe → Kafka: never loses a verified event, never accepts a forged one."""
