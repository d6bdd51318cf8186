"""Logging around a call: a context manager, a decorator, and a wrapper of scikit-learn models."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast

if TYPE_CHECKING:
    from observer.client.logger import PredictionLogger

P = ParamSpec("P")
R = TypeVar("R")

Read = Callable[[Any, Any], Iterable[Mapping[str, Any]]]
"""What went into a call and what came out -> the arguments of `log`, once per prediction."""

_UNSET = object()


class Pending:
    """A prediction under way; what is set by the end of the block is logged, with the time it took.

    Nothing is logged where the block raises, or where `prediction` was not set.
    """

    def __init__(self, logger: PredictionLogger, features: Any, fields: dict[str, Any]) -> None:
        self._logger = logger
        self._fields = fields
        self._start = 0.0
        self.id: str = logger.new_id() if fields.get("id") is None else str(fields["id"])
        self.features = features
        self.prediction: Any = _UNSET
        self.scores: Any = None

    def __enter__(self) -> Self:
        self._start = perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None or self.prediction is _UNSET:
            return
        fields = {"latency_ms": (perf_counter() - self._start) * 1000, **self._fields, "id": self.id}
        self._logger.log(self.features, self.prediction, self.scores, **fields)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def record(logger: PredictionLogger, read: Read, given: Any, result: Any, seconds: float, one: Any) -> None:
    """Log what `read` makes of a call; whatever it raises is counted, and reaches nobody.

    Several predictions of one request `id` are `id-0`, `id-1` and so on.
    """
    try:
        events = [dict(fields) for fields in read(given, result)]
        for number, fields in enumerate(events):
            fields.setdefault("latency_ms", seconds * 1000)
            if one is not None:
                fields.setdefault("id", one if len(events) == 1 else f"{one}-{number}")
            logger.log(**fields)
    except Exception as error:  # must not reach the model
        logger.refuse(error)


def watched(
    logger: PredictionLogger, function: Callable[P, R], read: Read | None, frame: bool
) -> Callable[P, R]:
    """The function, logging what goes in and comes out; as `PredictionLogger.watch`."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("watch: a generator has no one result; use `with logger.prediction(features)` in it")
    own = int(_is_method(function))

    def log(args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, start: float) -> None:
        seconds = perf_counter() - start
        if read is not None:
            record(
                logger,
                lambda given, out: read((*given[0], *given[1].values()), out),
                (args, kwargs),
                result,
                seconds,
                None,
            )
        else:
            features = args[own] if len(args) > own else next(iter(kwargs.values()), None)
            write = logger.log_frame if frame else logger.log
            write(features, result, latency_ms=seconds * 1000)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def waiting(*args: P.args, **kwargs: P.kwargs) -> Any:
            start = perf_counter()
            result = await function(*args, **kwargs)
            log(args, kwargs, result, start)
            return result

        return cast("Callable[P, R]", waiting)

    @functools.wraps(function)
    def calling(*args: P.args, **kwargs: P.kwargs) -> R:
        start = perf_counter()
        result = function(*args, **kwargs)
        log(args, kwargs, result, start)
        return result

    return calling


def _is_method(function: Callable[..., Any]) -> bool:
    """Whether the first argument is not given by the caller: of a function in the body of a class."""
    try:
        return next(iter(inspect.signature(function).parameters), "") in {"self", "cls"}
    except ValueError:  # of some written in C
        return False


class LoggedEstimator:
    """A scikit-learn model (or anything with its methods) that logs what it predicts.

    Everything else is the model's own: attributes, other methods, errors, results.

    Parameters
    ----------
    model : estimator
        Has `predict`; for a classifier, `classes_` names the scores.
    logger : PredictionLogger
        Where predictions go. Features are named by the frame's columns, else by `feature_names` of the
        logger, else by the model's `feature_names_in_`, else `x0`, `x1` and so on.
    method : "predict" or "predict_proba"
        Whose calls are logged. Of `predict_proba` the prediction is the likeliest class.
    scores : bool
        With `predict`: ask the model for `predict_proba` as well, after it has answered.
    """

    def __init__(
        self, model: Any, logger: PredictionLogger, *, method: str = "predict", scores: bool = False
    ) -> None:
        if method not in {"predict", "predict_proba"}:
            raise ValueError(f"method: {method!r}; accepted: 'predict', 'predict_proba'")
        self._model = model
        self._logger = logger
        self._method = method
        self._scores = scores

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_model" not in self.__dict__:  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self._model, name)

    def predict(self, X: Any, *args: Any, **kwargs: Any) -> Any:
        """The model's answer."""
        start = perf_counter()
        result = self._model.predict(X, *args, **kwargs)
        if self._method == "predict":
            self._log(X, result, None, perf_counter() - start)
        return result

    def predict_proba(self, X: Any, *args: Any, **kwargs: Any) -> Any:
        """The model's probabilities."""
        start = perf_counter()
        result = self._model.predict_proba(X, *args, **kwargs)
        if self._method == "predict_proba":
            self._log(X, None, result, perf_counter() - start)
        return result

    def _log(self, X: Any, answers: Any, scores: Any, seconds: float) -> None:
        try:
            if self._scores and scores is None:
                scores = self._model.predict_proba(X)
            classes = getattr(self._model, "classes_", ())
            if answers is None:
                answers = [classes[at] for at in scores.argmax(axis=1)]
            if scores is not None:
                scores = {one: scores[:, at] for at, one in enumerate(classes)}
            if getattr(X, "columns", None) is None and not isinstance(X, Mapping):
                names = self._logger.feature_names or getattr(self._model, "feature_names_in_", ())
                X = _columns(X, list(map(str, names)))
            self._logger.log_frame(X, answers, scores, latency_ms=seconds * 1000)
        except Exception as error:  # must not reach the model
            self._logger.refuse(error, len(X) if hasattr(X, "__len__") else 1)


def _columns(X: Any, names: list[str]) -> dict[str, Any]:
    from observer.client.frames import columns_of  # noqa: PLC0415 - a cycle

    return columns_of(X, names)
