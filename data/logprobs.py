"""Log-probabilities of responses: where a store keeps them, and reading them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from ..contracts import ResponseLogprobs, StoreError
from .layout.columns import read_rows
from .layout.damage import Damage, verify_chunks
from .layout.files import Files
from .layout.metadata import ArrayMeta, read_meta


@dataclass(frozen=True, slots=True, eq=False)
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

    def __eq__(self, other: object) -> bool:
        """Whether all numbers are the same; what is missing in both is."""
        return isinstance(other, LogprobBlock) and all(
            np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f")
            if mine is not None and theirs is not None
            else mine is theirs
            for mine, theirs in (
                (getattr(self, name), getattr(other, name)) for name in self.__slots__
            )
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def empty(cls, rows: int, tokens: int, top_k: int) -> Self:
        """A block in which nothing is there."""
        some, every = (rows, tokens), (rows, tokens, top_k)
        return cls(
            token_ids=np.full(some, -1, np.int32),
            token_logprobs=np.full(some, np.nan, np.float32),
            topk_token_ids=np.full(every, -1, np.int32) if top_k else None,
            topk_logprobs=np.full(every, np.nan, np.float32) if top_k else None,
        )

    def row(self, b: int) -> Self:
        """The b-th row alone, without the axis B."""
        return type(self)(
            token_ids=self.token_ids[b],
            token_logprobs=self.token_logprobs[b],
            topk_token_ids=None if self.topk_token_ids is None else self.topk_token_ids[b],
            topk_logprobs=None if self.topk_logprobs is None else self.topk_logprobs[b],
        )

    def tensors(self, top_k: int) -> ResponseLogprobs:
        """The same as tensors, with the first `top_k` alternatives; a number is there or NaN."""
        ids, logprobs = self.topk_token_ids, self.topk_logprobs
        return ResponseLogprobs(
            token_ids=torch.from_numpy(self.token_ids),
            token_logprobs=torch.from_numpy(self.token_logprobs),
            mask=torch.from_numpy(~np.isnan(self.token_logprobs)),
            topk_token_ids=None if not top_k or ids is None else torch.from_numpy(ids[..., :top_k]),
            topk_logprobs=None
            if not top_k or logprobs is None
            else torch.from_numpy(logprobs[..., :top_k]),
        )

    def put(self, rows: np.ndarray, other: Self) -> None:
        """Puts in the rows of another block, with the alternatives that both have."""
        tokens = other.token_ids.shape[1]
        self.token_ids[rows, :tokens] = other.token_ids
        self.token_logprobs[rows, :tokens] = other.token_logprobs
        for mine, given in (
            (self.topk_token_ids, other.topk_token_ids),
            (self.topk_logprobs, other.topk_logprobs),
        ):
            if mine is not None and given is not None:
                mine[rows, :tokens] = given[..., : mine.shape[2]]


@dataclass(frozen=True, slots=True)
class LogprobArrays:
    """Where a store keeps log-probabilities.

    Attributes:
        token_ids: (N, R).
        token_logprobs: (N, R).
        topk_token_ids: (N, R, k), or None.
        topk_logprobs: (N, R, k), or None.
        complete: every row has its place in a file, so that a missing file is damage.
    """

    token_ids: ArrayMeta
    token_logprobs: ArrayMeta
    topk_token_ids: ArrayMeta | None
    topk_logprobs: ArrayMeta | None
    complete: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, R)."""
        return self.token_ids.shape

    @property
    def top_k(self) -> int:
        """k, or 0 where only the response's own tokens were recorded."""
        return 0 if self.topk_logprobs is None else self.topk_logprobs.shape[2]

    def read(self, files: Files, rows: np.ndarray) -> LogprobBlock:
        """The log-probabilities of these rows of the arrays."""

        def read(meta: ArrayMeta) -> np.ndarray:
            return read_rows(files, meta, rows, missing_reads_as_fill=not self.complete)

        ids, logprobs = self.topk_token_ids, self.topk_logprobs
        return LogprobBlock(
            token_ids=read(self.token_ids),
            token_logprobs=read(self.token_logprobs),
            topk_token_ids=None if ids is None else read(ids),
            topk_logprobs=None if logprobs is None else read(logprobs),
        )


def find_logprobs(files: Files, folder: str, rows: int) -> LogprobArrays | None:
    """The log-probability arrays of a store, or None where it has none.

    Args:
        files: the store's.
        folder: what their names start with.
        rows: how many they must have.

    Raises:
        StoreError: some of those that belong together are missing, or they do not fit.
    """
    names = [f"{folder}response_{n}" for n in ("token_ids", "token_logprobs")]
    names += [f"{folder}response_topk_{n}" for n in ("token_ids", "logprobs")]
    ids, logprobs, topk_ids, topk_logprobs = (read_meta(files, n) for n in names)
    if ids is None and logprobs is None:
        return None
    if ids is None or logprobs is None or (topk_ids is None) != (topk_logprobs is None):
        raise StoreError(f"{files.name}: of the arrays {', '.join(names)} only some are there")
    alike = [ids.shape, logprobs.shape, *(m.shape[:2] for m in (topk_ids, topk_logprobs) if m)]
    if len(set(alike)) > 1 or len(ids.shape) != 2 or ids.shape[0] < rows:
        raise StoreError(
            f"{files.name}: {ids.key} has shape {ids.shape} beside {alike[1:]}, for {rows} rows: "
            "its arrays disagree"
        )
    if topk_logprobs is not None and topk_logprobs.shape[2] == 0:
        topk_ids = topk_logprobs = None
    return LogprobArrays(ids, logprobs, topk_ids, topk_logprobs)


def verify_logprobs(files: Files, folder: str, rows: int) -> Iterator[Damage]:
    """Damage to the log-probability arrays of a store, where it has any."""
    try:
        found = find_logprobs(files, folder, rows)
    except StoreError as error:
        yield Damage(f"{folder}response_token_logprobs", None, None, str(error))
        return
    if found is None:
        return
    for meta in (found.token_ids, found.token_logprobs, found.topk_token_ids, found.topk_logprobs):
        if meta is not None:
            yield from verify_chunks(files, meta, meta.shape[0], missing_is_damage=False)
