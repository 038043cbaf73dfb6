"""PostgreSQL and Apache Kafka on one machine without Docker, and the supervisor that keeps processes alive."""
