"""Stripe → Kafka: backfills, gaps, questions about single objects; each inside the merchant's budget."""
