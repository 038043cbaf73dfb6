"""The fixtures that the other integration tests stand on."""

from __future__ import annotations

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.db import migrate


async def test_each_test_gets_an_empty_database(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute("CREATE TABLE only_mine (id int)")
        tables = await connection.fetch("SELECT relname FROM pg_stat_user_tables")
    finally:
        await connection.close()

    assert [row["relname"] for row in tables] == ["only_mine"]


async def test_next_test_does_not_see_tables_of_the_last(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    try:
        tables = await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables")
    finally:
        await connection.close()

    assert tables == 0


async def test_database_has_all_migrations(database_url: str) -> None:
    assert await migrate(database_url) == []


async def test_message_comes_back_from_the_broker(kafka_bootstrap_servers: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}echo"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap_servers, acks="all") as producer:
        await producer.send_and_wait(topic, b"hello")
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka_bootstrap_servers, auto_offset_reset="earliest", group_id=topic
    )
    async with consumer:
        message = await consumer.getone()

    assert message.value == b"hello"
