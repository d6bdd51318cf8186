"""Logging in a KServe model server."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from time import perf_counter
from typing import Any, TypeVar

from observer.client.logger import PredictionLogger
from observer.client.protocols import Reader
from observer.client.watch import Read, record

M = TypeVar("M")


def watch_kserve(model: M, logger: PredictionLogger, *, read: Read | None = None) -> M:
    """Log what a `kserve.Model` predicts, V1 and V2, REST and gRPC.

    The id is that of the V2 request, else the header `x-request-id`, else a new one; several rows of one
    request `id` are `id-0`, `id-1` and so on.

    Parameters
    ----------
    model : kserve.Model
        Its `predict`, a coroutine function or not, is wrapped in place.
    logger : PredictionLogger
        Where predictions go.
    read : callable or None
        (request, response), as JSON has them -> the arguments of `log`, once per prediction; None for
        those of `observer.client.protocols`.

    Returns
    -------
    kserve.Model
        The same model.
    """
    served: Any = model
    predict = served.predict
    reader: Read = read or Reader(logger.feature_names, logger.classes)

    def log(payload: Any, headers: Any, result: Any, start: float) -> None:
        seconds = perf_counter() - start
        one = getattr(payload, "id", None) or (headers or {}).get("x-request-id")
        record(logger, lambda given, out: reader(_plain(given), _plain(out)), payload, result, seconds, one)

    if inspect.iscoroutinefunction(predict):

        @functools.wraps(predict)
        async def waiting(payload: Any, headers: Any = None, *args: Any, **kwargs: Any) -> Any:
            start = perf_counter()
            result = await predict(payload, headers, *args, **kwargs)
            log(payload, headers, result, start)
            return result

        served.predict = waiting
    else:

        @functools.wraps(predict)
        def calling(payload: Any, headers: Any = None, *args: Any, **kwargs: Any) -> Any:
            start = perf_counter()
            result = predict(payload, headers, *args, **kwargs)
            log(payload, headers, result, start)
            return result

        served.predict = calling
    return model


def _plain(payload: Any) -> Any:
    """A payload as JSON has it: KServe's `InferRequest` and `InferResponse` as mappings."""
    if isinstance(payload, Mapping):
        return payload
    for field in ("inputs", "outputs"):
        tensors = getattr(payload, field, None)
        if tensors is not None:
            return {
                field: [{"name": one.name, "shape": one.shape, "data": one.as_numpy()} for one in tensors]
            }
    return payload
