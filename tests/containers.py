"""Runs Postgres and Kafka in containers, with the command line and output of `python -m local_stack`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

import psutil
from testcontainers.kafka import KafkaContainer
from testcontainers.postgres import PostgresContainer

POSTGRES_IMAGE = "postgres:18-alpine"
KAFKA_IMAGE = "confluentinc/cp-kafka:8.0.0"
FOLLOW_INTERVAL = 1.0  # seconds
LIKE_OURS = {
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_MESSAGE_MAX_BYTES": "4194304",
    "KAFKA_REPLICA_FETCH_MAX_BYTES": "4194304",
}


def _kafka() -> KafkaContainer:
    container = KafkaContainer(KAFKA_IMAGE).with_kraft()
    for name, value in LIKE_OURS.items():
        container.with_env(name, value)
    return container


def main() -> None:
    """Keep the containers until a signal comes or the followed process is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", help="not used: containers keep nothing")
    parser.add_argument("--follow", type=int, required=True)
    arguments = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with (
        PostgresContainer(POSTGRES_IMAGE, driver=None) as postgres,
        _kafka() as kafka,
    ):
        addresses = {
            "database_url": postgres.get_connection_url(),
            "kafka_bootstrap_servers": kafka.get_bootstrap_server(),
        }
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()
        while not stopped.wait(FOLLOW_INTERVAL) and psutil.pid_exists(arguments.follow):
            pass


if __name__ == "__main__":
    main()
