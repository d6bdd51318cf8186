"""Requests and responses of model servers that know nothing of this service: KServe's and Seldon's."""

from observer.codecs.inference.codec import InferenceCodec
from observer.codecs.inference.halves import READERS
from observer.codecs.inference.mapping import load
from observer.codecs.inference.pairs import Paired, Pairing

__all__ = ["READERS", "InferenceCodec", "Paired", "Pairing", "load"]
