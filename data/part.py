"""What a store's own format is turned into: rows that have a response, whatever the schema."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..contracts import StoreError
from .layout.files import Files
from .logprobs import LogprobBlock

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


class Activations(Protocol):
    """A (N, L, T, H) array that rows and layers are read from. It pickles."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, L, T, H)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """What is read, in the machine's byte order."""
        ...

    def read(
        self, rows: np.ndarray, layers: np.ndarray, tokens: np.ndarray, out: np.ndarray
    ) -> None:
        """Reads the real tokens of each row's layers, and zeros behind them.

        Args:
            rows: (B,) rows of the array.
            layers: (B, K) positions on its layer axis.
            tokens: (B,) how many of a row's tokens are real, at most T'.
            out: (B, K, T', H), C-contiguous, of the array's dtype; T' may be any number.

        Raises:
            StoreError: real tokens are missing or damaged; names array, row and layer.
        """
        ...

    def stored(self, rows: np.ndarray, layers: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """(B, K) bool, whether the first `tokens` (B,) of each row's layers are there."""
        ...

    def close(self) -> None:
        """Lets go of open files; reading takes them again."""
        ...


class Logprobs(Protocol):
    """Log-probabilities of a store's responses, wherever they lie."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, R)."""
        ...

    @property
    def top_k(self) -> int:
        """k, or 0 where only the response's own tokens were recorded."""
        ...

    def read(self, files: Files, rows: np.ndarray) -> LogprobBlock:
        """The log-probabilities of these rows of the arrays."""
        ...


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
        load_hashkeys: gives the n ids.
        load_groups: gives the n groups, or is None.
        load_texts: gives texts by hashkey.
        logprobs: where log-probabilities lie, or None.
    """

    files: Files
    schema: str
    model: str
    layer_ids: tuple[int, ...]
    activations: Activations
    rows: np.ndarray
    token_counts: np.ndarray
    response_lengths: np.ndarray
    input_lengths: np.ndarray
    halu: np.ndarray
    dropped: int
    allocated: int
    load_hashkeys: Callable[[], list[str]]
    load_groups: Callable[[], list[str]] | None = None
    load_texts: Callable[[], dict[str, Text]] = dict
    logprobs: Logprobs | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.activations.shape[3]

    @property
    def max_tokens(self) -> int:
        """T."""
        return self.activations.shape[2]

    def read(self, rows: np.ndarray, layers: np.ndarray, out: np.ndarray) -> None:
        """Reads layers (B, K) of the held rows (B,) into (B, K, T', H), zeros behind the tokens."""
        tokens = np.minimum(self.token_counts[rows], out.shape[2])
        self.activations.read(self.rows[rows], layers, tokens, out)

    def stored(self, rows: np.ndarray, layers: np.ndarray, max_tokens: int) -> np.ndarray:
        """(B, K) whether layers (B, K) of the held rows (B,) have their first tokens."""
        tokens = np.minimum(self.token_counts[rows], max_tokens)
        return self.activations.stored(self.rows[rows], layers, tokens)


def log_dropped(files: Files, dropped: int) -> None:
    """Says how many rows have no response token."""
    if dropped:
        log.warning("%s: dropped %d rows without a response token", files.name, dropped)


def require_agreement(parts: Sequence[StorePart]) -> None:
    """Stores that are read as one must agree on the model, the layers, H and the dtype.

    Raises:
        StoreError: two do not; names both.
    """
    first = parts[0]
    for part in parts[1:]:
        for name, a, b in (
            ("model", first.model, part.model),
            ("layers", first.layer_ids, part.layer_ids),
            ("hidden size", first.hidden_size, part.hidden_size),
            ("dtype", first.activations.dtype, part.activations.dtype),
        ):
            if a != b:
                raise StoreError(
                    f"{part.files.name} cannot be read as one with {first.files.name}: {name} "
                    f"{b} and {a}"
                )
