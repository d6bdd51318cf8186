"""Labels in batches: tables that are read again and again, each row taken once."""

from observer.sources.batch.readers import FeastReader, TableReader, reader
from observer.sources.batch.source import BatchSource, message
from observer.sources.batch.spec import BatchSpec, FeastLabelsSpec, TableSpec

__all__ = [
    "BatchSource",
    "BatchSpec",
    "FeastLabelsSpec",
    "FeastReader",
    "TableReader",
    "TableSpec",
    "message",
    "reader",
]
