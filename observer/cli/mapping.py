"""What `observer map infer` does: samples, and the file that they suggest."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from io import StringIO
from itertools import groupby
from pathlib import Path

import msgspec
import numpy as np
import yaml

from observer.clock import SystemClock
from observer.codecs import InferenceSpec, pairing
from observer.codecs.inference import READERS, InferenceCodec, Paired, Pairing
from observer.codecs.inference.infer import propose
from observer.codecs.inference.mapping import Mappings, dump, parse
from observer.codecs.inference.pairs import Pair
from observer.config import load
from observer.errors import ConfigError, Permanent
from observer.model import Messages, Origin, Partition
from observer.sources.kafka import newest

_WAIT = 366 * 86_400.0
"""Samples of any age may belong together."""


class _Sample(msgspec.Struct):
    model: str = "model"
    id: str = "sample"
    request: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()
    request_base64: str = ""
    response_base64: str = ""
    specversion: str = ""


def from_topics(path: Path, number: int) -> tuple[list[Pair], list[str]]:
    """Pairs among the newest messages of the topics that a configuration reads, and what became of others."""
    config = load(path)
    spec = config.predictions
    if not isinstance(spec.encoding, InferenceSpec) or not spec.topics:
        raise ConfigError([f"{path}: predictions.encoding: accepted here: kserve or seldon, from Kafka"])
    joining = pairing(spec.encoding, config.limits)
    if joining is None:
        raise Permanent(f"{path}: nothing to pair")
    now = SystemClock().now()
    polls = newest(spec.topics, "predictions", number)
    pairs = [pair for poll in polls for pair in joining.take(poll, now).pairs]
    return pairs, _left(joining, sum(map(len, polls)), len(pairs))


def from_files(paths: Sequence[Path]) -> tuple[list[Pair], list[str]]:
    """Pairs that files of JSON lines hold."""
    pairs: list[Pair] = []
    events: list[bytes] = []
    decode = msgspec.json.Decoder(_Sample).decode
    for path in paths:
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if not line.strip():
                continue
            try:
                one = decode(line)
                if one.specversion:
                    events.append(line)
                    continue
                request, response = (
                    base64.b64decode(text, validate=True) if text else bytes(raw)
                    for text, raw in ((one.request_base64, one.request), (one.response_base64, one.response))
                )
            except (msgspec.MsgspecError, UnicodeDecodeError, binascii.Error) as error:
                raise Permanent(
                    f"{path}:{number}: {error}; accepted: see `observer map infer --help`"
                ) from error
            if not request or not response:
                raise Permanent(f"{path}:{number}: holds no `request` and `response`, nor a CloudEvent")
            pairs.append(Pair(one.model, one.id, 0, "", request, response))
    joining = Pairing(READERS["kserve"], wait=_WAIT, max_bytes=1 << 30, pending_bytes=1 << 32)
    paired = joining.take(_messages(events), SystemClock().now())
    found = [*pairs, *paired.pairs]
    return found, _left(joining, len(events), len(paired.pairs))


def _messages(values: list[bytes]) -> Messages:
    partitions = (Partition("predictions", "samples", 0),)
    return Messages(
        values, np.zeros(len(values), np.int32), partitions, {}, lambda at: Origin("samples", 0, at)
    )


def _left(joining: Pairing, messages: int, pairs: int) -> list[str]:
    told = (
        [f"{messages} messages: {pairs} pairs, {len(joining)} without their other half"] if messages else []
    )
    return told + [f"{one.origin}: {one.reason}: {one.detail}" for one in joining.refused()[:5]]


def proposal(pairs: Sequence[Pair], names: Sequence[str]) -> str:
    """The text of a mapping file, with remarks; tried on the samples before it is given away."""
    out = StringIO()
    out.write(
        "# Proposed by `observer map infer` from samples. Look at the remarks, and edit names freely.\n"
    )
    found: dict[str, object] = {}
    for model, group in groupby(sorted(pairs, key=lambda pair: pair.model), key=lambda pair: pair.model):
        mine = list(group)
        one, notes = propose(mine, names)
        for note in notes:
            out.write(f"# {model}: {note}\n")
        if one is not None:
            out.write(f"# {model}: {_tried(mine, {model: one})}\n")
            found |= dump({model: one})["models"]
    if not found:
        raise Permanent(out.getvalue().replace("# ", "").strip())
    text = yaml.safe_dump({"models": found}, sort_keys=False, allow_unicode=True, width=110)
    parse(text, "the proposal")
    return out.getvalue() + text


def _tried(pairs: list[Pair], mappings: Mappings) -> str:
    """How many of the samples the mapping reads."""
    now = SystemClock().now()
    timely = [pair._replace(time=int(now * 1000)) for pair in pairs]
    messages = _messages([b""] * len(pairs))
    paired = Paired(
        messages.values, messages.partition, messages.partitions, {}, messages.origin, pairs=timely
    )
    decoded = InferenceCodec({}, mappings, learn_unknown=True).predictions(paired, now)
    rows = sum(map(len, decoded.predictions))
    told = f"reads {len(pairs) - len(decoded.rejected)} of {len(pairs)} samples, {rows} predictions"
    return f"{told}; {decoded.rejected[0].detail}" if decoded.rejected else told
