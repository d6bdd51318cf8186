"""A reference in print."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from detectors.base import Ints
from observer.references import Reference
from observer.terminal.plots import even_counts, histogram_bars, share, short
from observer.terminal.words import reference_quantiles

_QUANTILES = [0.05, 0.5, 0.95]
_BINS, _FEW_BINS = 24, 12
_NARROW = 100
"""Columns below which bars are fewer, so that values have room."""


def print_reference(reference: Reference, console: Console) -> None:
    """Print what the reference holds: schema, rows, and a line a column with its distribution."""
    schema = reference.schema
    head = Text("reference ", style="bold").append(reference.version)
    head.append(f"\n{reference.summary.n:,} rows, {len(schema.features)} features")
    if reference.description:
        head.append(f"; {reference.description}")
    head.append(f"\ntask: {schema.task or 'unknown'}")
    if schema.classes:
        head.append(f"; classes: {', '.join(schema.classes)}")
    if schema.positive is not None:
        head.append(f"; positive: {schema.positive}")
    for sketch in reference.table.embeddings.sketches:
        head.append(f"\nembedding {sketch.name.removeprefix('@embedding.')}: {len(sketch.center)} numbers")
    for name, frequent in sorted(reference.segments.items()):
        head.append(f"\nsegments of {name}: {', '.join(frequent)}")
    console.print(head, highlight=False)
    bins = _BINS if console.width >= _NARROW else _FEW_BINS
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("column", overflow="fold", min_width=10)
    table.add_column("type", no_wrap=True)
    table.add_column("missing", justify="right", no_wrap=True)
    table.add_column("distribution", no_wrap=True, width=bins)
    table.add_column("5% | median | 95%, or top", ratio=1, overflow="fold")
    rows = {**_numbers(reference, bins), **_categories(reference, bins)}
    for name in sorted(rows, key=lambda name: (name.startswith("@"), name)):
        kind, missing, drawing, values = rows[name]
        note = reference.notes.get(name, "")
        wish = reference.privacy.get(name, "keep")
        marks = [note] * bool(note) + [f"privacy: {wish}"] * (wish != "keep")
        told = Text(values)
        if marks:
            told.append(("\n" if values else "") + "; ".join(marks), "yellow")
        table.add_row(Text(name), kind, share(missing), Text(drawing, "cyan"), told)
    console.print()
    console.print(table, highlight=False)
    left_out = [name for name in reference.notes if name not in rows]
    if left_out:
        console.print()
        console.print("not watched:", highlight=False)
        for name in sorted(left_out):
            console.print(Text(f"  {name}: {reference.notes[name]}"), highlight=False)


_Line = tuple[str, float, str, str]


def _numbers(reference: Reference, width: int) -> dict[str, _Line]:
    numbers = reference.summary.numbers
    bins = numbers.bins
    out: dict[str, _Line] = {}
    for i, name in enumerate(numbers.names):
        counts, boundaries = numbers.counts[i], numbers.binning.columns[i]
        missing = float(counts[bins + 2] + counts[bins + 3]) / max(int(counts.sum()), 1)
        values = drawing = ""
        if len(boundaries):
            values = " | ".join(short(q) for q in reference_quantiles(reference, i, _QUANTILES))
            values += f"  ({short(numbers.minimum[i])} to {short(numbers.maximum[i])})"
            drawing = histogram_bars(even_counts(boundaries, counts[1 : len(boundaries)], width), width)
        out[name] = ("number", missing, drawing, values)
    return out


def _categories(reference: Reference, width: int) -> dict[str, _Line]:
    categories = reference.summary.categories
    out: dict[str, _Line] = {}
    for name, names, counts in zip(categories.names, categories.vocabulary, categories.counts, strict=True):
        kind = reference.schema.features.get(name, "category")
        rows = max(int(counts.sum()), 1)
        missing = float(counts[-2]) / rows
        out[name] = (
            kind,
            missing,
            histogram_bars(counts[: len(names)], width),
            _frequent(names, counts, rows),
        )
    return out


def _frequent(names: tuple[str, ...], counts: Ints, rows: int) -> str:
    shown = ", ".join(f"{name} {share(count / rows)}" for name, count in zip(names[:5], counts, strict=False))
    rest = len(names) - 5
    return shown + (f", {rest} more" if rest > 0 else "")
