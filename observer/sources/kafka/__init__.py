"""Kafka: the only door to its client library."""

from observer.sources.kafka.dead_letters import KafkaDeadLetters
from observer.sources.kafka.range import KafkaRange, bound
from observer.sources.kafka.report import DeadLetterReport, TopicReport, describe, newest
from observer.sources.kafka.several import SeveralTopics
from observer.sources.kafka.source import KafkaSource
from observer.sources.kafka.spec import KafkaSecurity, KafkaSpec

__all__ = [
    "DeadLetterReport",
    "KafkaDeadLetters",
    "KafkaRange",
    "KafkaSecurity",
    "KafkaSource",
    "KafkaSpec",
    "SeveralTopics",
    "TopicReport",
    "bound",
    "describe",
    "newest",
]
