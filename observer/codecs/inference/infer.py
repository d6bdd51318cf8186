"""Pairs -> the mapping that they suggest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from observer.codecs.inference.codec import tables
from observer.codecs.inference.mapping import Argmax, Cell, ModelMapping, Threshold
from observer.codecs.inference.pairs import Pair
from observer.codecs.inference.tensors import Tensor, is_number

_CLASSES = ("class", "label", "predict", "category", "answer", "decision")
_SCORES = ("prob", "score", "confidence")


def propose(pairs: Sequence[Pair], names: Sequence[str] = ()) -> tuple[ModelMapping | None, list[str]]:
    """What a mapping of one model may look like, by its commonest structure, and remarks for a person.

    Parameters
    ----------
    pairs : sequence of Pair
        Samples of the model.
    names : sequence of str
        Of the features, where one input has as many columns; `tensor_0` and so on without them.

    Returns
    -------
    ModelMapping or None
        None where no pair could be read.
    list of str
        Remarks.
    """
    inputs, why = _commonest([pair.request for pair in pairs], response=False)
    outputs, why_too = _commonest([pair.response for pair in pairs], response=True)
    if not inputs or not outputs:
        return None, [f"no sample could be read: {(why + why_too + ['none there'])[0]}"]
    notes = [f"some samples could not be read: {one}" for one in (why + why_too)[:1]]
    features = _features(inputs, names, notes)
    prediction, scores = _answer(outputs, notes)
    return ModelMapping(features, prediction, scores), notes


def _commonest(payloads: Sequence[bytes], *, response: bool) -> tuple[Mapping[str, Tensor], list[str]]:
    found, refused = tables(payloads, response=response)
    most = max(found, key=lambda table: len(table.messages), default=None)
    return ({} if most is None else most.tensors), list(refused.values())


def _features(inputs: Mapping[str, Tensor], names: Sequence[str], notes: list[str]) -> dict[str, Cell]:
    wide = [name for name, tensor in inputs.items() if tensor.width > 1]
    named = next((name for name in wide if inputs[name].width == len(names)), None)
    if names and named is None:
        widths = ", ".join(f"{name}: {tensor.width}" for name, tensor in inputs.items())
        notes.append(f"{len(names)} names of features fit no input (columns of each: {widths})")
    features: dict[str, Cell] = {}
    for name, tensor in inputs.items():
        if tensor.width == 1:
            features[name] = Cell(name)
            continue
        if name != named:
            notes.append(
                f"features {name}_0 to {name}_{tensor.width - 1} are made-up names: give better ones"
            )
        for at in range(tensor.width):
            features[names[at] if name == named else f"{name}_{at}"] = Cell(name, at)
    if any(one.count("_") and one.rpartition("_")[2].isdigit() for one in features) and len(features) > 500:
        notes.append(f"{len(features)} features: a picture or a text is rather an embedding, leave it out")
    return features


def _answer(
    outputs: Mapping[str, Tensor], notes: list[str]
) -> tuple[Cell | Threshold | Argmax, Cell | Mapping[str, Cell] | None]:
    """Prediction and scores: what looks like probabilities is scores, else a narrow output answers."""
    wide = [name for name, tensor in outputs.items() if _is_distribution(tensor)]
    wide.sort(key=lambda name: not _sounds(name, _SCORES))
    narrow = [name for name, tensor in outputs.items() if tensor.width == 1]
    narrow.sort(key=lambda name: (not _sounds(name, _CLASSES), _sounds(name, _SCORES)))
    scores = next(iter(wide), None)
    if scores is not None:
        width = outputs[scores].width
        classes = tuple(map(str, range(width)))
        by_class = {name: Cell(scores, at) for at, name in enumerate(classes)}
        notes.append(
            f"classes 0 to {width - 1} of output {scores} are made-up names: give those of the labels"
        )
        if narrow:
            notes.append(f"prediction is {narrow[0]}: its classes must be named as those of the scores")
            return Cell(narrow[0]), by_class
        return Argmax(scores, classes), by_class
    if not narrow:
        name, tensor = next(iter(outputs.items()))
        notes.append(f"prediction is the greatest of the {tensor.width} columns of {name}: is it?")
        return Argmax(name), None
    first = narrow[0]
    if len(narrow) > 1 and _is_probability(outputs[narrow[1]]) and _sounds(narrow[1], _SCORES):
        return Cell(first), Cell(narrow[1])
    if _is_probability(outputs[first]):
        notes.append(
            f"{first} lies between 0 and 1: read as the probability of class 1; else: `prediction: {first}`"
        )
        return Threshold(Cell(first), 0.5), Cell(first)
    return Cell(first), None


def _sounds(name: str, parts: Sequence[str]) -> bool:
    return any(part in name.lower() for part in parts)


def _values(tensor: Tensor) -> NDArray[np.float64] | None:
    if not is_number(tensor.cells.type) or tensor.cells.null_count or not len(tensor.cells):
        return None
    values: NDArray[np.float64] = tensor.cells.cast(pa.float64()).to_numpy()
    return values if np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1 else None


def _is_distribution(tensor: Tensor) -> bool:
    """Whether rows of several columns sum to one."""
    values = _values(tensor)
    if values is None or tensor.width < 2:
        return False
    return bool(np.allclose(values.reshape(-1, tensor.width).sum(axis=1), 1.0, atol=1e-3))


def _is_probability(tensor: Tensor) -> bool:
    values = _values(tensor)
    return values is not None and bool((values % 1 != 0).any())
