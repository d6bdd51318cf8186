"""Arrow IPC, many events a message: the fast path."""

from observer.codecs.arrow.decode import ArrowCodec
from observer.codecs.arrow.encode import encode_labels, encode_predictions

__all__ = ["ArrowCodec", "encode_labels", "encode_predictions"]
