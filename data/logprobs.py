"""Log-probabilities of responses: where a store keeps them, and reading them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..contracts import StoreError
from .layout.columns import read_rows
from .layout.damage import Damage, verify_chunks
from .layout.files import Files
from .layout.metadata import ArrayMeta, read_meta


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


def verify_logprobs(files: Files, folder: str) -> Iterator[Damage]:
    """Damage to the log-probability arrays of a store, where it has any."""
    try:
        found = find_logprobs(files, folder)
    except StoreError as error:
        yield Damage(f"{folder}response_token_logprobs", None, None, str(error))
        return
    if found is None:
        return
    for meta in (found.token_ids, found.token_logprobs, found.topk_token_ids, found.topk_logprobs):
        if meta is not None:
            yield from verify_chunks(files, meta, meta.shape[0], missing_is_damage=False)
