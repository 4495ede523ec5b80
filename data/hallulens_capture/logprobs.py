"""Log-probabilities of a capture's responses."""

from dataclasses import dataclass

import numpy as np

from ...contracts import StoreError
from ..layout.files import Files, LocalFiles
from ..layout.flat_array import FlatArray
from ..logprobs import LogprobBlock
from .config import TOKEN_IDS, TOKEN_LOGPROBS, TOPK_IDS, TOPK_LOGPROBS, CaptureConfig
from .log import Entry


@dataclass(frozen=True, slots=True)
class CaptureLogprobs:
    """Where a capture keeps log-probabilities.

    Attributes:
        token_ids: (N, S).
        token_logprobs: (N, S).
        topk_token_ids: (N, S, k), or None.
        topk_logprobs: (N, S, k), or None.
        counts: (N,) the tokens of each row that are real; what is behind them may be anything.
    """

    token_ids: FlatArray
    token_logprobs: FlatArray
    topk_token_ids: FlatArray | None
    topk_logprobs: FlatArray | None
    counts: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, S)."""
        return self.token_ids.shape

    @property
    def top_k(self) -> int:
        """k, or 0 where only the response's own tokens were recorded."""
        return 0 if self.topk_logprobs is None else self.topk_logprobs.shape[2]

    def read(self, files: Files, rows: np.ndarray) -> LogprobBlock:
        """The log-probabilities of these rows of the arrays."""
        behind = np.arange(self.shape[1]) >= self.counts[rows, None]
        ids, logprobs = self.topk_token_ids, self.topk_logprobs
        block = LogprobBlock(
            token_ids=self.token_ids.take(rows),
            token_logprobs=self.token_logprobs.take(rows),
            topk_token_ids=None if ids is None else ids.take(rows),
            topk_logprobs=None if logprobs is None else logprobs.take(rows),
        )
        for values, fill in (
            (block.token_ids, -1),
            (block.token_logprobs, np.nan),
            (block.topk_token_ids, -1),
            (block.topk_logprobs, np.nan),
        ):
            if values is not None:
                values[behind] = fill
        return block


def find_logprobs(
    files: LocalFiles, config: CaptureConfig, found: list[Entry]
) -> CaptureLogprobs | None:
    """The log-probabilities of a capture, or None where it has none.

    Args:
        files: the capture's.
        config: its configuration.
        found: its committed rows.

    Raises:
        StoreError: some of the files are missing, or one has another size.
    """
    names = (TOKEN_IDS, TOKEN_LOGPROBS, *((TOPK_IDS, TOPK_LOGPROBS) if config.top_k else ()))
    there = [name for name in names if files.exists(name)]
    if not there:
        return None
    if len(there) < len(names):
        raise StoreError(f"{files.name}: of {', '.join(names)} only {', '.join(there)} are there")
    arrays = [FlatArray(files, name, *config.arrays[name]) for name in names]
    counts = np.zeros(config.rows, np.int32)
    for entry in found:
        counts[entry.row] = min(entry.response_length, config.max_tokens)
    topk = arrays[2:] or [None, None]
    return CaptureLogprobs(arrays[0], arrays[1], topk[0], topk[1], counts)
