"""What a model server imports to log its predictions; needs neither numpy nor pyarrow nor the service."""

from observer.client.buffer import Stats
from observer.client.kafka import KafkaTransport
from observer.client.logger import PredictionLogger
from observer.client.transports import FileTransport, TooLarge, Transport

__all__ = ["FileTransport", "KafkaTransport", "PredictionLogger", "Stats", "TooLarge", "Transport"]
