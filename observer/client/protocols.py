"""Requests and responses of model servers -> predictions: V1 and V2 inference protocols, plain JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Reader:
    """Reads the predictions of a request and its response, both as JSON has them.

    - V1: `{"instances": [...]}` and `{"predictions": [...]}`; an instance is a mapping, or a row of values
      named by `feature_names`.
    - V2: `{"inputs": [{"name", "shape", "data"}]}` and `{"outputs": [...]}`; an input is a column named as
      itself, or, with several values a row, columns named by `feature_names`.
    - plain: `{"features": {...}}`, or the features themselves, and `{"prediction": ..., "scores": ...}`.

    Of V1 and V2, an answer of as many numbers as there are `classes` is taken for their scores, and the
    likeliest class for the prediction; a second output of V2 of that width is the scores of the first.

    Parameters
    ----------
    feature_names, classes : sequence of str
        As of the logger.
    """

    def __init__(self, feature_names: Sequence[str], classes: Sequence[str]) -> None:
        self._names = feature_names
        self._classes = classes

    def __call__(self, request: Any, response: Any) -> Iterator[Mapping[str, Any]]:
        """The arguments of `log`, once per prediction.

        Raises
        ------
        KeyError, TypeError, ValueError
            They are of none of these forms, or do not fit each other.
        """
        if "outputs" in response:
            rows, answers = (
                list(self._v2_rows(request["inputs"])),
                list(self._v2_answers(response["outputs"])),
            )
        elif "predictions" in response:
            rows, answers = request["instances"], [self._answer(one) for one in response["predictions"]]
        else:
            rows, answers = (
                [request.get("features", request)],
                [(response["prediction"], response.get("scores"))],
            )
        for features, (prediction, scores) in zip(rows, answers, strict=True):
            yield {"features": features, "prediction": prediction, "scores": scores}

    def _v2_rows(self, inputs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        columns: dict[str, Sequence[Any]] = {}
        for one in inputs:
            rows = _rows(one)
            if rows and not isinstance(rows[0], list):
                columns[one["name"]] = rows
                continue
            width = len(rows[0]) if rows else 0
            names = (
                self._names
                if len(inputs) == 1 and self._names
                else [f"{one['name']}_{at}" for at in range(width)]
            )
            if len(names) != width:
                raise ValueError(f"{width} values a row and {len(names)} `feature_names`")
            columns |= {name: [row[at] for row in rows] for at, name in enumerate(names)}
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))

    def _v2_answers(self, outputs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Any, Any]]:
        first = _rows(outputs[0])
        second = _rows(outputs[1]) if len(outputs) > 1 else None
        if second is not None and not (isinstance(second[0], list) and len(second[0]) == len(self._classes)):
            second = None
        for at, one in enumerate(first):
            prediction, scores = self._answer(one)
            yield prediction, scores if second is None else dict(zip(self._classes, second[at], strict=True))

    def _answer(self, answer: Any) -> tuple[Any, Any]:
        """Prediction and scores of one answer."""
        if isinstance(answer, Mapping):
            return answer["prediction"], answer.get("scores")
        if not isinstance(answer, list):
            return answer, None
        if len(answer) == 1:
            return answer[0], None
        scores = dict(zip(self._classes, answer, strict=True))
        return max(scores, key=scores.__getitem__), scores


def _rows(tensor: Mapping[str, Any]) -> list[Any]:
    """The rows of a V2 tensor: values, or lists of values where a row has several."""
    data, shape = tensor["data"], list(tensor["shape"])
    flat = list(_flat(data.tolist() if hasattr(data, "tolist") else data))
    rows = shape[0] if shape else 1
    width = len(flat) // rows if rows else 0
    if rows * width != len(flat):
        raise ValueError(f"tensor `{tensor['name']}`: {len(flat)} values and shape {shape}")
    if len(shape) < 2 or width == 1:
        return flat
    return [flat[at : at + width] for at in range(0, len(flat), width)]


def _flat(data: Any) -> Iterator[Any]:
    for one in data:
        if isinstance(one, list):
            yield from _flat(one)
        else:
            yield one.decode(errors="replace") if isinstance(one, bytes) else one
