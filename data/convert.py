"""`convert_store`: any store to a native one, resumable, and checked after."""

import logging
import os
from dataclasses import dataclass

import numpy as np

from ..contracts import IGNORE_LABEL, ResponseLogprobs, StoreError
from .labels import FilePath, join_labels
from .native.begin import create_or_resume
from .native.schema import new_schema
from .native.writer import ActivationWriter
from .parser import find_inputs
from .part import Text
from .store import ActivationStore, StorePath
from .verify import Progress

log = logging.getLogger("kview.data")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion did.

    Attributes:
        rows: rows of the new store.
        resumed: how many of them were there already.
        layers: the model's layer ids that it holds.
        labelled: rows with a label.
    """

    rows: int
    resumed: int
    layers: tuple[int, ...]
    labelled: int


def convert_store(
    src: StorePath,
    dst: str | os.PathLike[str],
    progress: Progress | None = None,
    *,
    generation: FilePath | None = None,
    labels: FilePath | None = None,
    group_by: str | None = None,
    shard_rows: int | None = None,
) -> Conversion:
    """Copies a store, with its labels and texts, to a native one; run again, it goes on.

    Every row with a response is copied, rows whose label the files leave out as unlabelled ones.
    Layers that no row has are left out. At the end every value is read back and compared.
    Log-probabilities go with them, in float32.

    Args:
        src: a store, or a folder with its label files beside it.
        dst: where the native store goes, or was left unfinished.
        progress: told how many rows are copied, then checked, of twice their number.
        generation: generation.jsonl, where it is not beside the store.
        labels: eval_results.json, likewise.
        group_by: a key of generation.jsonl's lines to take groups from; a row without a line is a
            group of its own.
        shard_rows: as in `ActivationWriter.create`.

    Raises:
        StoreError: a store is damaged, `dst` holds something else or was begun with another model,
            layers or sizes, or a row lacks layers that others have.
        ContractError: a text of the source is none that UTF-8 has.
        LabelError: the label files do not fit.

    Examples:
        >>> import tempfile
        >>> from kview.data import ActivationStore, convert_store, write_synthetic_store
        >>> folder = tempfile.mkdtemp()
        >>> write_synthetic_store(
        ...     f"{folder}/a", num_rows=4, num_layers=3, hidden_size=4, max_tokens=2
        ... )
        >>> convert_store(f"{folder}/a", f"{folder}/b")
        Conversion(rows=4, resumed=0, layers=(0, 1, 2), labelled=4)
    """
    with ActivationStore.open(src) as source:
        inputs = find_inputs(src, generation=generation, labels=labels)
        halu, groups = _labels(source, inputs.inference_json, inputs.eval_json, group_by)
        places = _complete_layers(source)
        texts = source.texts()
        wanted = new_schema(
            layers=[source.layer_ids[p] for p in places.tolist()],
            hidden_size=source.hidden_size,
            max_tokens=source.max_tokens,
            model=source.model,
            dtype=source.dtype,
            shard_rows=shard_rows,
            logprob_tokens=source.logprob_tokens,
            logprobs_top_k=source.logprobs_top_k or 0,
        )
        with create_or_resume(dst, wanted) as writer:
            resumed = len(writer)
            _require_prefix(writer, source, dst)
            for row in range(resumed, len(source)):
                _append(writer, source, row, places, int(halu[row]), groups, texts)
                if progress is not None:
                    progress(row + 1, 2 * len(source))
        _compare(source, dst, places, halu, groups, progress)
        return Conversion(
            rows=len(source),
            resumed=resumed,
            layers=wanted.layers,
            labelled=int((halu != IGNORE_LABEL).sum()),
        )


def _labels(
    source: ActivationStore, generation: str | None, labels: str | None, group_by: str | None
) -> tuple[np.ndarray, list[str] | None]:
    """A label for every row of the store, and a group where there are any."""
    if generation is None and labels is None and group_by is None:
        return source.halu, source.groups
    joined = join_labels(source, generation, labels, group_by=group_by)
    halu = np.full(len(source), IGNORE_LABEL, np.int8)
    halu[joined.rows] = joined.halu
    if joined.grouping.names is None:
        return halu, source.groups
    groups = list(source.hashkeys)
    for row, group in zip(joined.rows.tolist(), joined.grouping.names, strict=True):
        groups[row] = group
    return halu, groups


def _complete_layers(source: ActivationStore) -> np.ndarray:
    """The positions of the layers that all rows have."""
    everything = np.arange(source.num_layers)
    counts = np.zeros(source.num_layers, np.int64)
    example = np.zeros(source.num_layers, np.int64)
    for row in range(len(source)):
        found = source.stored([row], everything[None])[0]
        counts += found
        example[~found] = row
    partial = np.flatnonzero((counts > 0) & (counts < len(source)))
    if len(partial):
        place = partial[0]
        raise StoreError(
            f"{source!r}: row {example[place]} has no activations of layer "
            f"{source.layer_ids[place]}, which {counts[place]} rows have; a native store holds "
            "every layer of every row"
        )
    missing = [source.layer_ids[p] for p in np.flatnonzero(counts == 0).tolist()]
    if missing and len(source):
        log.warning("layers %s are left out: no row has them", missing)
    return np.flatnonzero(counts == len(source))


def _require_prefix(
    writer: ActivationWriter, source: ActivationStore, dst: str | os.PathLike[str]
) -> None:
    """What is there already must be the first rows of the source."""
    if len(writer) > len(source) or not all(k in writer for k in source.hashkeys[: len(writer)]):
        raise StoreError(f"{os.fspath(dst)} holds rows that {source!r} does not begin with")


def _append(
    writer: ActivationWriter,
    source: ActivationStore,
    row: int,
    places: np.ndarray,
    halu: int,
    groups: list[str] | None,
    texts: dict[str, Text],
) -> None:
    key, tokens = source.hashkeys[row], int(source.token_counts[row])
    text = texts.get(key)
    writer.append(
        source.read([row], places[None], max_tokens=tokens)[0],
        token_count=tokens,
        response_length=int(source.response_lengths[row]),
        input_length=int(source.input_lengths[row]),
        hashkey=key,
        halu=halu,
        group=None if groups is None else groups[row],
        prompt=None if text is None else text.prompt,
        response=None if text is None else text.response,
        logprobs=_logprobs(source, row),
    )


def _logprobs(source: ActivationStore, row: int) -> ResponseLogprobs | None:
    top_k = source.logprobs_top_k
    return None if top_k is None else source.logprobs([row]).row(0).tensors(top_k)


def _compare(
    source: ActivationStore,
    dst: str | os.PathLike[str],
    places: np.ndarray,
    halu: np.ndarray,
    groups: list[str] | None,
    progress: Progress | None,
) -> None:
    """Reads the new store back, checksums and all.

    Raises:
        StoreError: a value is not the source's.
    """
    with ActivationStore.open(dst) as copy:
        for name, a, b in (
            ("hashkeys", source.hashkeys, copy.hashkeys),
            ("token counts", source.token_counts.tolist(), copy.token_counts.tolist()),
            ("lengths", source.response_lengths.tolist(), copy.response_lengths.tolist()),
            ("input lengths", source.input_lengths.tolist(), copy.input_lengths.tolist()),
            ("labels", halu.tolist(), copy.halu.tolist()),
            ("groups", groups, copy.groups),
        ):
            if a != b:
                raise StoreError(f"{os.fspath(dst)}: its {name} are not those of {source!r}")
        for row in range(len(source)):
            theirs = source.read([row], places[None])
            mine = copy.read([row], np.arange(copy.num_layers)[None])
            if theirs.tobytes() != mine.tobytes():
                raise StoreError(f"{os.fspath(dst)}: row {row} is not that of {source!r}")
            if source.logprob_tokens and source.logprobs([row]) != copy.logprobs([row]):
                raise StoreError(
                    f"{os.fspath(dst)}: row {row} has other log-probabilities than {source!r}"
                )
            if progress is not None:
                progress(len(source) + row + 1, 2 * len(source))
