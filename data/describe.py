"""`describe_store`: a summary of what a store holds."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..contracts import LabelError, StoreError
from .labels import FilePath, join_labels
from .parser import find_inputs
from .store import ActivationStore, StorePath

NORM_ROWS = 256
"""Rows that the norms are taken over, evenly spread over the store."""


@dataclass(frozen=True, slots=True)
class LayerNorms:
    """Euclidean norms of the token vectors of one layer, over some rows.

    Attributes:
        layer: the model's layer id.
        rows: how many rows had the layer.
        mean: the mean norm.
        deviation: its standard deviation.
        largest: the largest norm.
    """

    layer: int
    rows: int
    mean: float
    deviation: float
    largest: float


@dataclass(frozen=True, slots=True)
class LengthBin:
    """How many responses have so many tokens.

    Attributes:
        first: the smallest length of the bin.
        last: the largest.
        rows: rows in it.
    """

    first: int
    last: int
    rows: int


@dataclass(frozen=True, slots=True)
class StoreSummary:
    """What a store holds.

    Attributes:
        stores: the paths or addresses of the stores that are read as one.
        schemas: their schemas.
        model: the language model's name, or "".
        rows: rows with a response.
        allocated_rows: rows that the arrays have room for.
        dropped_rows: rows without a response token.
        layer_ids: the model's layer ids.
        hidden_size: H.
        max_tokens: T.
        dtype: of the activations.
        activation_bytes: their size, uncompressed, padding included.
        disk_bytes: what the stores take on disk; None where they are remote.
        labels: rows by label, the label files' where there are any.
        lengths: response lengths, before truncation where known.
        truncated_rows: responses known to be longer than what is kept.
        norms: one entry per layer.
        top_k: alternatives per token in the log-probabilities; None without them.
        grouped: rows have groups.
        texts: rows whose prompt and response are stored.
        problems: what was found to be wrong, or worth knowing.
    """

    stores: tuple[str, ...]
    schemas: tuple[str, ...]
    model: str
    rows: int
    allocated_rows: int
    dropped_rows: int
    layer_ids: tuple[int, ...]
    hidden_size: int
    max_tokens: int
    dtype: str
    activation_bytes: int
    disk_bytes: int | None
    labels: dict[int, int]
    lengths: tuple[LengthBin, ...]
    truncated_rows: int
    norms: tuple[LayerNorms, ...]
    top_k: int | None
    grouped: bool
    texts: int
    problems: tuple[str, ...]


def describe_store(
    path: StorePath, *, generation: FilePath | None = None, labels: FilePath | None = None
) -> StoreSummary:
    """Describes a store; reads lengths, labels and keys of all rows, and activations of some.

    Args:
        path: a store, or a folder with its label files beside it.
        generation: generation.jsonl, where it is not beside the store.
        labels: eval_results.json, likewise.

    Raises:
        StoreError: the store cannot be opened. Damage inside is listed under `problems`, as far as
            it was met; `verify_store` finds all.
    """
    problems: list[str] = []
    with ActivationStore.open(path) as store:
        inputs = find_inputs(path, generation=generation, labels=labels)
        halu = _labels(store, inputs.inference_json, inputs.eval_json, problems)
        norms = _norms(store, problems)
        try:
            texts = len(store.texts().keys() & set(store.hashkeys))
        except StoreError as error:
            texts = 0
            problems.append(str(error))
        counts = Counter(halu.tolist())
        dropped = sum(p.dropped for p in store.parts)
        if dropped:
            problems.append(f"{dropped} rows have no response token and are left out")
        if len(store) and not {0, 1} <= set(counts):
            problems.append("rows of both labels are needed for detection to be scored")
        row_bytes = store.num_layers * store.max_tokens * store.hidden_size * store.dtype.itemsize
        return StoreSummary(
            stores=tuple(p.files.name for p in store.parts),
            schemas=tuple(p.schema for p in store.parts),
            model=store.model,
            rows=len(store),
            allocated_rows=sum(p.allocated for p in store.parts),
            dropped_rows=dropped,
            layer_ids=store.layer_ids,
            hidden_size=store.hidden_size,
            max_tokens=store.max_tokens,
            dtype=str(store.dtype),
            activation_bytes=len(store) * row_bytes,
            disk_bytes=_disk_bytes([p.files.name for p in store.parts]),
            labels={label: counts[label] for label in (1, 0, -1) if counts[label]},
            lengths=_lengths(store.response_lengths),
            truncated_rows=int((store.response_lengths > store.token_counts).sum()),
            norms=norms,
            top_k=store.logprobs_top_k,
            grouped=store.groups is not None,
            texts=texts,
            problems=tuple(problems),
        )


def _labels(
    store: ActivationStore, generation: str | None, labels: str | None, problems: list[str]
) -> np.ndarray:
    halu = np.full(len(store), -1, np.int8)
    try:
        if generation is None and labels is None:
            return store.halu
        joined = join_labels(store, generation, labels, group_by=None)
        halu[joined.rows] = joined.halu
    except (LabelError, StoreError) as error:
        problems.append(str(error))
    return halu


def _norms(store: ActivationStore, problems: list[str]) -> tuple[LayerNorms, ...]:
    rows = np.unique(np.linspace(0, len(store) - 1, NORM_ROWS).round().astype(np.int64))
    found: list[LayerNorms] = []
    for place, layer in enumerate(store.layer_ids if len(store) else ()):
        norms: list[np.ndarray] = []
        missing = broken = 0
        for row in rows.tolist():
            if not store.stored([row], np.array([[place]]))[0, 0]:
                missing += 1
                continue
            tokens = int(store.token_counts[row])
            try:
                x = store.read([row], [[place]], max_tokens=tokens)[0, 0].astype(np.float64)
            except StoreError as error:
                problems.append(str(error))
                continue
            broken += not (np.isfinite(x).all() and x.any())
            norms.append(np.linalg.norm(x, axis=-1))
        if missing:
            problems.append(f"layer {layer} is missing for {missing} of {len(rows)} rows seen")
        if broken:
            problems.append(
                f"layer {layer} is all zeros or not finite in {broken} of {len(rows)} rows seen"
            )
        if norms:
            every = np.concatenate(norms)
            mean, deviation = float(every.mean()), float(every.std())
            found.append(LayerNorms(layer, len(norms), mean, deviation, float(every.max())))
    return tuple(found)


def _lengths(lengths: np.ndarray, bins: int = 12) -> tuple[LengthBin, ...]:
    """At most so many bins of equal width over the lengths that occur."""
    if not len(lengths):
        return ()
    low, high = int(lengths.min()), int(lengths.max())
    width = -(-(high - low + 1) // bins)
    numbers = np.bincount((lengths - low) // width)
    return tuple(
        LengthBin(low + i * width, min(low + (i + 1) * width - 1, high), rows)
        for i, rows in enumerate(numbers.tolist())
    )


def _disk_bytes(names: list[str]) -> int | None:
    if any("://" in name for name in names):
        return None
    files = [f for name in names for f in (Path(name), *Path(name).rglob("*"))]
    return sum(f.stat().st_size for f in files if f.is_file())
