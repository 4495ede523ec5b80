"""What a store's own format is turned into: rows that have a response, whatever the schema."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..contracts import StoreError
from .layout.activations import ActivationArray
from .layout.columns import read_rows
from .layout.files import Files
from .layout.metadata import ArrayMeta, read_meta

log = logging.getLogger("kview.data")


@dataclass(frozen=True, slots=True)
class Text:
    """What a row was made of.

    Attributes:
        prompt: what the model was given.
        response: what it answered, or was made to answer.
    """

    prompt: str
    response: str


@dataclass(frozen=True, slots=True)
class LogprobBlock:
    """Log-probabilities of some rows' response tokens; R tokens at most, k alternatives.

    Attributes:
        token_ids: (B, R) int32, -1 where there is none.
        token_logprobs: (B, R) float32, natural logarithms, NaN where there is none.
        topk_token_ids: (B, R, k) int32, -1 where there is none; or None.
        topk_logprobs: (B, R, k) float32, NaN where there is none; or None.
    """

    token_ids: np.ndarray
    token_logprobs: np.ndarray
    topk_token_ids: np.ndarray | None
    topk_logprobs: np.ndarray | None


@dataclass(frozen=True, slots=True)
class LogprobArrays:
    """Where a store keeps log-probabilities.

    Attributes:
        token_ids: (N, R).
        token_logprobs: (N, R).
        topk_token_ids: (N, R, k), or None.
        topk_logprobs: (N, R, k), or None.
    """

    token_ids: ArrayMeta
    token_logprobs: ArrayMeta
    topk_token_ids: ArrayMeta | None
    topk_logprobs: ArrayMeta | None

    @property
    def top_k(self) -> int:
        """k, or 0 where only the response's own tokens were recorded."""
        return 0 if self.topk_logprobs is None else self.topk_logprobs.shape[2]

    def read(self, files: Files, rows: np.ndarray) -> LogprobBlock:
        """The log-probabilities of these rows of the arrays."""
        ids, logprobs = self.topk_token_ids, self.topk_logprobs
        return LogprobBlock(
            token_ids=read_rows(files, self.token_ids, rows),
            token_logprobs=read_rows(files, self.token_logprobs, rows),
            topk_token_ids=None if ids is None else read_rows(files, ids, rows),
            topk_logprobs=None if logprobs is None else read_rows(files, logprobs, rows),
        )


def find_logprobs(files: Files, folder: str) -> LogprobArrays | None:
    """The log-probability arrays of a store, or None where it has none.

    Raises:
        StoreError: some of those that belong together are missing.
    """
    names = [f"{folder}response_{n}" for n in ("token_ids", "token_logprobs")]
    names += [f"{folder}response_topk_{n}" for n in ("token_ids", "logprobs")]
    ids, logprobs, topk_ids, topk_logprobs = (read_meta(files, n) for n in names)
    if ids is None and logprobs is None:
        return None
    if ids is None or logprobs is None or (topk_ids is None) != (topk_logprobs is None):
        raise StoreError(f"{files.name}: of the arrays {', '.join(names)} only some are there")
    if topk_logprobs is not None and topk_logprobs.shape[2] == 0:
        topk_ids = topk_logprobs = None
    return LogprobArrays(ids, logprobs, topk_ids, topk_logprobs)


@dataclass(frozen=True, slots=True)
class StorePart:
    """One store on disk, seen as rows with at least one response token.

    Attributes:
        files: where it lies.
        schema: the name of its format.
        model: the language model's name, or "" where it was not recorded.
        layer_ids: the model's layer id at each place of the layer axis.
        activations: the array, (N, L, T, H).
        rows: (n,) the rows of the array that are held.
        token_counts: (n,) response tokens kept.
        response_lengths: (n,) response tokens before truncation, where known.
        input_lengths: (n,) prompt tokens.
        halu: (n,) int8 labels.
        dropped: how many rows have no response token.
        allocated: rows that the arrays have room for.
        logprobs: where log-probabilities lie, or None.
        load_hashkeys: gives the n ids.
        load_groups: gives the n groups, or is None.
        load_texts: gives texts by hashkey.
    """

    files: Files
    schema: str
    model: str
    layer_ids: tuple[int, ...]
    activations: ActivationArray
    rows: np.ndarray
    token_counts: np.ndarray
    response_lengths: np.ndarray
    input_lengths: np.ndarray
    halu: np.ndarray
    dropped: int
    allocated: int
    logprobs: LogprobArrays | None
    load_hashkeys: Callable[[], list[str]]
    load_groups: Callable[[], list[str]] | None
    load_texts: Callable[[], dict[str, Text]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.activations.meta.shape[3]

    @property
    def max_tokens(self) -> int:
        """T."""
        return self.activations.meta.shape[2]


def log_dropped(files: Files, dropped: int) -> None:
    """Says how many rows have no response token."""
    if dropped:
        log.warning("%s: dropped %d rows without a response token", files.name, dropped)
