"""The logger that a model server imports."""

from __future__ import annotations

import atexit
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from observer.client import items, processes
from observer.client.buffer import OVERFLOWS, Overflow, Stats
from observer.client.frames import Columns, columns_of, each, is_sized, scores_of
from observer.client.kafka import KafkaTransport
from observer.client.messages import json_messages
from observer.client.plan import FORMATS, Format, Plan, is_arrow
from observer.client.sender import Sender
from observer.client.transports import Transport
from observer.client.values import cells, milliseconds, name
from observer.client.watch import P, Pending, R, Read, watched
from observer.clock import SystemClock

_clock = SystemClock()


class PredictionLogger:
    """Writes a model's predictions, and their labels, to Kafka; never blocks or breaks the model.

    What is logged is copied into a bounded buffer; a thread, started with the first event, encodes and sends
    it. Nothing that goes wrong after construction raises: it is counted, see `stats`.

    Parameters
    ----------
    model : str
        The model's name.
    version : str or None
        Its version; each call may give another.
    brokers : str
        `host:port` addresses of Kafka, separated by commas. Ignored with `transport`.
    topic, labels_topic : str
        Where predictions and labels go.
    transport : Transport or None
        `KafkaTransport` with settings of its own, `FileTransport`, or your own; None for Kafka at `brokers`.
    feature_names, classes : sequence of str
        Names for features and scores that come without, as arrays.
    tags : mapping or None
        Tags of every event.
    format : "auto", "json" or "arrow"
        `auto` is Arrow where pyarrow is installed and the transport takes it, else JSON.
    overflow : "drop_oldest", "sample" or "spill"
        What to do when events come faster than they can be sent; `spill` needs a folder.
    buffer_bytes : int
        Memory for waiting events; up to 8 MB more are under way.
    spill, spill_bytes : Path or None, int
        Folder for `spill`, which processes may share, and the bytes that this process may keep there.
    batch_rows, linger : int, float
        Events are sent when so many wait, or after so many seconds.
    message_bytes : int
        The largest message; the brokers' own limit is 1 MiB unless configured otherwise.
    close_timeout : float
        Seconds that the end of the process may wait for what is not sent yet.

    Raises
    ------
    ValueError
        An argument is not acceptable.
    ImportError
        Kafka or Arrow was asked for, and no library for it is installed.
    """

    def __init__(
        self,
        model: str,
        *,
        version: str | None = None,
        brokers: str = "localhost:9092",
        topic: str = "predictions",
        labels_topic: str = "labels",
        transport: Transport | None = None,
        feature_names: Sequence[str] = (),
        classes: Sequence[Any] = (),
        tags: Mapping[str, Any] | None = None,
        format: Format = "auto",  # noqa: A002 - the word everybody uses
        overflow: Overflow = "drop_oldest",
        buffer_bytes: int = 64 << 20,
        spill: str | Path | None = None,
        spill_bytes: int = 1 << 30,
        batch_rows: int = 1_000,
        linger: float = 0.5,
        message_bytes: int = 900_000,
        close_timeout: float = 5.0,
    ) -> None:
        problems = [f"model: {model!r}; accepted: a non-empty text"] if not model else []
        numbers = {
            "buffer_bytes": buffer_bytes, "spill_bytes": spill_bytes, "batch_rows": batch_rows,
            "linger": linger, "message_bytes": message_bytes,
        }  # fmt: skip
        problems += [f"{key}: {one!r}; accepted: more than 0" for key, one in numbers.items() if one <= 0]
        if format not in FORMATS:
            problems.append(f"format: {format!r}; accepted: {', '.join(FORMATS)}")
        if overflow not in OVERFLOWS:
            problems.append(f"overflow: {overflow!r}; accepted: {', '.join(OVERFLOWS)}")
        if (overflow == "spill") != (spill is not None):
            problems.append("spill: a folder is needed with overflow='spill', and with nothing else")
        if problems:
            raise ValueError("; ".join(problems))
        transport = transport or KafkaTransport(brokers)
        arrow = is_arrow(format, transport)
        encode = json_messages
        if arrow:
            from observer.client.arrow import arrow_messages as encode  # noqa: PLC0415 - pyarrow is optional
        self.model = model
        self.feature_names = tuple(map(name, feature_names))
        self.classes = tuple(map(name, classes))
        self.format = "arrow" if arrow else "json"
        self._constants = {"model": model} | ({} if version is None else {"version": name(version)})
        self._tags = cells(tags or {})
        self._columns = Columns(arrow=arrow)
        self._close_timeout = close_timeout
        self._plan = Plan(
            transport=transport,
            topics={"predictions": topic, "labels": labels_topic},
            encode=encode,
            overflow=overflow,
            buffer_bytes=buffer_bytes,
            batch_rows=batch_rows,
            linger=linger,
            message_bytes=message_bytes,
            spill=None if spill is None else Path(spill),
            spill_bytes=spill_bytes,
        )
        self._begin()
        processes.alive.add(self)

    def after_fork(self) -> None:
        """In a forked child begin anew; what the parent has not sent stays the parent's."""
        self._sender.forget()
        processes.keep(self._sender)
        self._begin()

    def _begin(self) -> None:
        """What each process has of its own."""
        self._run = os.urandom(8).hex()
        self._number = itertools.count()
        self._started = False
        self._sender = Sender(self._plan)

    def new_id(self) -> str:
        """An id that no other event has."""
        return f"{self._run}-{next(self._number):x}"

    def log(
        self,
        features: Any,
        prediction: Any,
        scores: Any = None,
        *,
        id: Any = None,  # noqa: A002 - the name of the field
        time: Any = None,
        version: Any = None,
        tags: Mapping[str, Any] | None = None,
        arm: str | None = None,
        arm_probability: float | None = None,
        latency_ms: float | None = None,
        embeddings: Mapping[str, Any] | None = None,
        error: bool | None = None,
    ) -> str:
        """Log one prediction; docs/events.md says what each field means.

        Parameters
        ----------
        features : mapping, or a row of values named by `feature_names`, or None
            What the model saw.
        prediction : str, bool or number
            Its answer.
        scores : float, mapping, or values named by `classes`, or None
            The probability of the positive class, or of each class.
        id : str, int or None
            None for a new one.
        time : datetime, milliseconds, RFC 3339 text or None
            None for now.

        Returns
        -------
        str
            The id; the label must carry the same.
        """
        one = ""
        try:
            one = self.new_id() if id is None else str(id)
            fields = {
                "id": one,
                **self._constants,
                "time": int(_clock.now() * 1000) if time is None else milliseconds(time),
                "features": features,
                "prediction": prediction,
            }
            others = {
                "scores": scores,
                "tags": {**self._tags, **tags} if tags else self._tags or None,
                "arm": arm,
                "arm_probability": arm_probability,
                "latency_ms": latency_ms,
                "embeddings": embeddings,
                "error": error,
                "version": None if version is None else name(version),
            }
            fields.update((field, value) for field, value in others.items() if value is not None)
            self._put(items.prediction(fields, self.classes, self.feature_names))
        except Exception as problem:  # must not reach the model
            self._sender.refuse("invalid", 1, problem)
        return one

    def log_frame(
        self,
        features: Any,
        prediction: Any,
        scores: Any = None,
        *,
        id: Any = None,  # noqa: A002 - the name of the field
        time: Any = None,
        version: Any = None,
        tags: Mapping[str, Any] | Sequence[str] | None = None,
        arm: Any = None,
        arm_probability: Any = None,
        latency_ms: Any = None,
        embeddings: Mapping[str, Any] | None = None,
        error: Any = None,
    ) -> list[str]:
        """Log many predictions, a row each.

        Parameters
        ----------
        features : pandas or polars DataFrame, pyarrow Table, mapping of arrays, or matrix
            A column per feature; the columns of a matrix are named by `feature_names`.
        prediction : column
            The answers.
        scores : column, mapping of class to column, matrix with a column per class of `classes`, or None
            Probabilities.
        id, time, version, tags, arm, arm_probability, latency_ms, embeddings, error
            As for `log`: a column, or, but for `id`, one value for every row. Tags and embeddings are
            mappings of name to column; an embedding may be a matrix.

        Every column may also be given by its name in `features`, and `tags` as a list of such names; it is
        then no feature.

        Returns
        -------
        list of str
            The ids.
        """
        ids: list[str] = []
        rows = 1
        try:
            columns = columns_of(features, self.feature_names)
            rows = len(next(iter(columns.values()))) if columns else len(prediction)
            given = {
                "time": time, "prediction": prediction, "version": version, "arm": arm,
                "arm_probability": arm_probability, "latency_ms": latency_ms, "error": error,
            }  # fmt: skip
            used: set[str] = set()

            def of(value: Any) -> Any:
                if isinstance(value, str) and value in columns:
                    used.add(value)
                    return columns[value]
                return value

            fields = {field: of(value) for field, value in given.items()}
            fields["scores"] = scores_of(each(scores, of), self.classes)
            named: Mapping[str, Any] = tags if isinstance(tags, Mapping) else {one: one for one in tags or ()}
            fields["tags"] = {
                key: one if is_sized(one) else [one] * rows
                for key, one in each({**self._tags, **named}, of).items()
            }
            fields["embeddings"] = each(embeddings, of)
            ids = self._ids(of(id), rows)
            fields["features"] = {key: one for key, one in columns.items() if key not in used}
            if fields["time"] is None:
                fields["time"] = int(_clock.now() * 1000)
            self._put(self._columns.frame("predictions", ids, fields, self._constants))
        except Exception as problem:  # must not reach the model
            self._sender.refuse("invalid", rows, problem)
            ids = ids or self._ids(None, rows)
        return ids

    def label(self, id: Any, truth: Any, *, time: Any = None, weight: float | None = None) -> None:  # noqa: A002
        """Log the truth about one prediction.

        Parameters
        ----------
        id : str or int
            Of the prediction.
        truth : str, bool or number
            The true class or number.
        time : datetime, milliseconds, RFC 3339 text or None
            When it became known; None for now.
        weight : float or None
            1 where None.
        """
        try:
            when = int(_clock.now() * 1000) if time is None else milliseconds(time)
            fields = {"id": str(id), "model": self.model, "time": when, "label": truth, "weight": weight}
            self._put(items.label(fields))
        except Exception as error:  # must not reach the model
            self._sender.refuse("invalid", 1, error)

    def label_frame(self, id: Any, truth: Any, *, time: Any = None, weight: Any = None) -> None:  # noqa: A002
        """Log the truth about many predictions: columns of equal lengths, as for `label`."""
        rows = 1
        try:
            rows = len(id)
            fields = {
                "time": int(_clock.now() * 1000) if time is None else time,
                "label": truth,
                "weight": weight,
            }
            frame = self._columns.frame("labels", self._ids(id, rows), fields, {"model": self.model})
            self._put(frame)
        except Exception as error:  # must not reach the model
            self._sender.refuse("invalid", rows, error)

    def prediction(self, features: Any = None, **fields: Any) -> Pending:
        """A context manager around one call of the model; `fields` are those of `log`.

        ```python
        with logger.prediction(features) as one:
            one.prediction = model.predict(features)
        ```
        """
        return Pending(self, features, fields)

    def watch(
        self, *, read: Read | None = None, frame: bool = False
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A decorator: log each call of a function, a coroutine function too, and how long it took.

        Parameters
        ----------
        read : callable or None
            (arguments as a tuple, result) -> the arguments of `log`, once per prediction. None: the first
            argument (of a method after `self`) is the features, the result the prediction.
        frame : bool
            Without `read`: they are those of `log_frame`.

        Raises
        ------
        TypeError
            On decorating a generator: which of its values would be the prediction?
        """
        return lambda function: watched(self, function, read, frame)

    def refuse(self, error: Exception, rows: int = 1) -> None:
        """Count predictions that could not be read from a call as dropped, with reason `invalid`."""
        self._sender.refuse("invalid", rows, error)

    def stats(self) -> Stats:
        """What became of the events of this process."""
        return self._sender.ledger.stats()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that was logged before is delivered or dropped; False when time is up."""
        return self._sender.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Flush for `timeout` seconds at most and end; what is left goes to the disk or is dropped."""
        self._sender.close(self._close_timeout if timeout is None else timeout)
        atexit.unregister(self.close)

    async def aflush(self, timeout: float = 10.0) -> bool:  # noqa: ASYNC109 - as `flush`
        """`flush` without blocking the event loop."""
        import asyncio  # noqa: PLC0415 - not every model server needs it

        return await asyncio.to_thread(self.flush, timeout)

    async def aclose(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as `close`
        """`close` without blocking the event loop."""
        import asyncio  # noqa: PLC0415 - not every model server needs it

        await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _put(self, item: items.Item) -> None:
        self._sender.put(item)
        if not self._started:
            self._started = True
            processes.at_exit(self, self.close, self._sender.close, self._close_timeout)

    def _ids(self, given: Any, rows: int) -> list[str]:
        if given is None:
            run, numbers = self._run, itertools.islice(self._number, rows)
            return [f"{run}-{number:x}" for number in numbers]
        ids = list(map(str, given.to_pylist() if hasattr(given, "to_pylist") else given))
        if len(ids) != rows:
            raise ValueError(f"`id` has {len(ids)} values; accepted: {rows}, one per row")
        return ids
