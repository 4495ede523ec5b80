"""`ActivationStore`: one or several stores on disk, read as one."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Self

import numpy as np

from ..contracts import ConfigError, StoreError
from .families import find_family
from .indices import as_indices
from .layout.buffers import Buffers
from .logprobs import LogprobBlock
from .part import Logprobs, StorePart, Text, require_agreement

StorePath = str | os.PathLike[str]


class ActivationStore:
    """Per-layer activations of responses: N rows with a response, L layers, T tokens, H values.

    Rows without a response token are left out and counted in the log. Lengths and labels are in
    memory; hashkeys and texts are read when they are asked for. It pickles, and is closed like a
    file or left to the garbage collector.

    Attributes:
        parts: the stores on disk, in order.

    Examples:
        >>> import tempfile
        >>> from kview.data import ActivationStore, write_synthetic_store
        >>> path = f"{tempfile.mkdtemp()}/a.zarr"
        >>> write_synthetic_store(path, num_rows=6, num_layers=5, hidden_size=8, max_tokens=4)
        >>> with ActivationStore.open(path) as store:
        ...     print(len(store), store.layer_ids, store.read([0, 3], [[0, 2], [1, 4]]).shape)
        6 (0, 1, 2, 3, 4) (2, 2, 4, 8)
    """

    def __init__(self, parts: Sequence[StorePart]) -> None:
        self.parts = tuple(parts)
        require_agreement(self.parts)
        self._starts = np.cumsum([0, *map(len, self.parts)])
        self._buffers = Buffers()

    @classmethod
    def open(
        cls, path_or_paths: StorePath | Sequence[StorePath], *, follow_symlinks: bool = False
    ) -> Self:
        """Opens stores of any known family.

        Args:
            path_or_paths: a store, a folder that holds one as `activations.zarr`, or several of
                these, to be read as one; URLs that fsspec knows will do.
            follow_symlinks: links inside a store may point out of it; otherwise they are refused.

        Raises:
            StoreError: a store is missing, damaged or of an unknown family, or several do not fit.
        """
        one = isinstance(path_or_paths, str | os.PathLike)
        paths = [path_or_paths] if one else list(path_or_paths)
        if not paths:
            raise ConfigError("no store to open: the list of paths is empty")
        found = [find_family(path, follow_symlinks=follow_symlinks) for path in paths]
        return cls([family.open(files) for files, family in found])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of open files and spare memory; reading takes them again."""
        self._buffers.clear()
        for part in self.parts:
            part.activations.close()

    def __len__(self) -> int:
        """N, the rows with a response."""
        return int(self._starts[-1])

    def __repr__(self) -> str:
        names = ", ".join(p.files.name for p in self.parts)
        return (
            f"ActivationStore({names}: {len(self)} rows, {self.num_layers} layers, "
            f"{self.max_tokens} tokens, hidden size {self.hidden_size}, {self.dtype})"
        )

    @property
    def layer_ids(self) -> tuple[int, ...]:
        """The model's layer id at each position of the layer axis."""
        return self.parts[0].layer_ids

    @property
    def num_layers(self) -> int:
        """L."""
        return len(self.layer_ids)

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.parts[0].hidden_size

    @property
    def max_tokens(self) -> int:
        """T, the response tokens kept at most."""
        return max(p.max_tokens for p in self.parts)

    @property
    def dtype(self) -> np.dtype:
        """Of the stored activations."""
        return self.parts[0].activations.dtype

    @property
    def model(self) -> str:
        """The language model's name, or "" where it was not recorded."""
        return self.parts[0].model

    @cached_property
    def token_counts(self) -> np.ndarray:
        """(N,) int32, response tokens kept."""
        return np.concatenate([p.token_counts for p in self.parts])

    @cached_property
    def response_lengths(self) -> np.ndarray:
        """(N,) int32, response tokens before truncation where that is known, else kept ones."""
        return np.concatenate([p.response_lengths for p in self.parts])

    @cached_property
    def input_lengths(self) -> np.ndarray:
        """(N,) int32, prompt tokens."""
        return np.concatenate([p.input_lengths for p in self.parts])

    @cached_property
    def halu(self) -> np.ndarray:
        """(N,) int8 labels that the store itself holds; -1 where nothing labels a row."""
        return np.concatenate([p.halu for p in self.parts])

    @cached_property
    def hashkeys(self) -> list[str]:
        """The N ids.

        Raises:
            StoreError: one stands for two rows.
        """
        keys = [key for part in self.parts for key in part.load_hashkeys()]
        if len(set(keys)) < len(keys):
            first: dict[str, int] = {}
            row, key = next((i, k) for i, k in enumerate(keys) if first.setdefault(k, i) != i)
            raise StoreError(
                f"hashkey {key!r} stands at rows {first[key]} and {row} of {self!r}; it must be "
                "unique among stores that are read as one"
            )
        return keys

    @cached_property
    def groups(self) -> list[str] | None:
        """The N groups, or None where the store has none."""
        found = [p.load_groups for p in self.parts]
        if any(load is None for load in found):
            return None
        return [group for load in found if load is not None for group in load()]

    def texts(self) -> dict[str, Text]:
        """Prompts and responses by hashkey, as far as the store has them."""
        return {key: text for part in self.parts for key, text in part.load_texts().items()}

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the rows, their ids, lengths and labels, and with the sizes of the axes."""
        digest = hashlib.sha256()
        shape = (self.layer_ids, self.hidden_size, self.max_tokens, str(self.dtype), self.model)
        digest.update(repr(shape).encode())
        for column in (self.token_counts, self.input_lengths, self.halu):
            digest.update(np.ascontiguousarray(column).tobytes())
        digest.update("\n".join(self.hashkeys).encode())
        return digest.hexdigest()

    def read(
        self,
        rows: Sequence[int] | np.ndarray,
        layers: Sequence[Sequence[int]] | np.ndarray,
        out: np.ndarray | None = None,
        *,
        max_tokens: int | None = None,
    ) -> np.ndarray:
        """Reads K layers of each of B rows.

        Args:
            rows: (B,) rows of the store.
            layers: (B, K) positions on the layer axis.
            out: (B, K, T', H) of the stored dtype, C-contiguous, to read into; its T' decides.
            max_tokens: T' where there is no `out`; the store's own by default. Responses are cut
                to T' tokens, and zeros follow where they are shorter.

        Returns:
            `out`, or a new array, (B, K, T', H).

        Raises:
            StoreError: a chunk with real tokens is missing or damaged; names array, row and layer.
            ConfigError: a row or layer is out of range, or `out` does not fit.
        """
        rows, layers = self._wanted(rows, layers)
        if out is None:
            tokens = self.max_tokens if max_tokens is None else max_tokens
            out = self._buffers.take((*layers.shape, tokens, self.hidden_size), self.dtype)
        self._check_out(out, layers.shape)
        if len(self.parts) == 1:
            self.parts[0].read(rows, layers, out)
            return out
        for part, mine, local in self._by_part(rows):
            block = np.empty((len(mine), *out.shape[1:]), out.dtype)
            part.read(local, layers[mine], block)
            out[mine] = block
        return out

    def stored(
        self,
        rows: Sequence[int] | np.ndarray,
        layers: np.ndarray,
        *,
        max_tokens: int | None = None,
    ) -> np.ndarray:
        """Whether each layer is available: no chunk with real tokens of it is missing.

        Args:
            rows: (B,) rows of the store.
            layers: (B, K) positions on the layer axis.
            max_tokens: tokens beyond it are of no interest; all are by default.

        Returns:
            (B, K) bool.
        """
        rows, layers = self._wanted(rows, layers)
        found = np.empty(layers.shape, bool)
        for part, mine, local in self._by_part(rows):
            most = self.max_tokens if max_tokens is None else max_tokens
            found[mine] = part.stored(local, layers[mine], most)
        return found

    def available_layers(self, row: int) -> tuple[int, ...]:
        """The positions on the layer axis that a row has activations for."""
        found = self.stored([row], np.arange(self.num_layers)[None])[0]
        return tuple(np.flatnonzero(found).tolist())

    @property
    def logprobs_top_k(self) -> int | None:
        """Alternatives recorded per token; None where the store has no log-probabilities."""
        return min((arrays.top_k for arrays in self._logprobs), default=None)

    @property
    def logprob_tokens(self) -> int:
        """R, the response tokens whose log-probabilities are kept at most; 0 without any."""
        return max((arrays.shape[1] for arrays in self._logprobs), default=0)

    def logprobs(self, rows: Sequence[int] | np.ndarray) -> LogprobBlock:
        """Log-probabilities of the response tokens of B rows, at most R tokens each.

        Of several stores, R is the largest, and k the smallest.

        Raises:
            StoreError: the store has none, or they are damaged.
            ConfigError: a row is out of range.
        """
        rows = as_indices("row", rows, len(self))
        if not self._logprobs:
            raise StoreError(f"{self!r} has no log-probabilities of responses")
        block = LogprobBlock.empty(len(rows), self.logprob_tokens, self.logprobs_top_k or 0)
        for part, mine, local in self._by_part(rows):
            if part.logprobs is not None:
                block.put(mine, part.logprobs.read(part.files, part.rows[local]))
        return block

    @property
    def _logprobs(self) -> list[Logprobs]:
        """Of every part; none where one of them has none."""
        found = [part.logprobs for part in self.parts if part.logprobs is not None]
        return found if len(found) == len(self.parts) else []

    def _by_part(self, rows: np.ndarray) -> Iterator[tuple[StorePart, np.ndarray, np.ndarray]]:
        """Each part that some rows lie in: which of them these are, and their rows in it."""
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(owner).tolist():
            mine = np.flatnonzero(owner == number)
            yield self.parts[number], mine, rows[mine] - self._starts[number]

    def _wanted(
        self, rows: Sequence[int] | np.ndarray, layers: Sequence[Sequence[int]] | np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = as_indices("row", rows, len(self))
        layers = as_indices("layer", layers, self.num_layers)
        if rows.ndim != 1 or layers.ndim != 2 or len(rows) != len(layers):
            got = f"rows {rows.shape} and layers {layers.shape}"
            raise ConfigError(f"{got} must be (B,) and (B, K)")
        return rows, layers

    def _check_out(self, out: np.ndarray, wanted: tuple[int, ...]) -> None:
        fits = out.ndim == 4 and out.shape[:2] == wanted and out.shape[3] == self.hidden_size
        if not (fits and out.dtype == self.dtype and out.flags.c_contiguous):
            raise ConfigError(
                f"out is {out.dtype} {out.shape}; it must be {self.dtype} "
                f"({', '.join(map(str, wanted))}, T, {self.hidden_size}) and C-contiguous"
            )
