"""What a model server imports to log its predictions; needs neither numpy nor pyarrow nor the service."""

from observer.client.asgi import PredictionMiddleware
from observer.client.buffer import Stats
from observer.client.kafka import KafkaTransport
from observer.client.kserve import watch_kserve
from observer.client.logger import PredictionLogger
from observer.client.payloads import PayloadEndpoint
from observer.client.transports import FileTransport, TooLarge, Transport
from observer.client.watch import LoggedEstimator

__all__ = [
    "FileTransport",
    "KafkaTransport",
    "LoggedEstimator",
    "PayloadEndpoint",
    "PredictionLogger",
    "PredictionMiddleware",
    "Stats",
    "TooLarge",
    "Transport",
    "watch_kserve",
]
