"""Stores of made-up activations whose hallucinations can be found, but in no single layer."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..contracts import ConfigError
from .native.writer import ActivationWriter

_QUESTIONS = ("Which river runs through {}?", "Who founded {}?", "When was {} built?")
_VERDICTS = ("as every atlas has it", "which nobody has ever written down")


@dataclass(frozen=True, slots=True)
class _Layer:
    """Where a layer puts a token: rotation, scale and offset."""

    rotation: np.ndarray
    offset: np.ndarray


def write_synthetic_store(
    path: str | os.PathLike[str],
    *,
    num_rows: int,
    num_layers: int,
    hidden_size: int,
    max_tokens: int,
    seed: int = 0,
    signal: float = 1.25,
    affine_layers: bool = False,
    signal_layers: Sequence[int] | None = None,
    outliers: int = 0,
    unlabelled_share: float = 0.0,
    shard_rows: int | None = None,
) -> None:
    """Writes a native store that a K-view encoder can solve and a single layer cannot.

    Along one direction every token of a response carries its label's sign times `signal` / 2, plus
    unit noise that is drawn once per row and layer: a layer alone tells the classes apart at an
    AUROC of Phi(signal / sqrt 2), 0.81 by default, the mean over K layers at one of
    Phi(sqrt K * signal / sqrt 2), 0.96 for K=4. Around it lie a topic that the layers of a row
    share, and noise of every token's own. Lengths, topics and groups are drawn independently of
    the labels; a group has two rows.

    Args:
        path: where; nothing may be there.
        num_rows: N.
        num_layers: L; layer ids are 0 to L - 1.
        hidden_size: H, at least 4.
        max_tokens: T; responses have 1 to 1.5 T tokens and are cut to T.
        seed: of everything that is drawn.
        signal: distance between the classes in units of a layer's noise.
        affine_layers: each layer rotates and shifts what it holds in its own way, as the layers of
            a language model do, so that one encoder has to be told which layer it sees.
        signal_layers: the layers that carry the label's sign; all by default.
        outliers: dimensions, the last ones, that hold hundreds of times what others do and nothing
            of the label, growing with depth, as in the residual stream of a causal model.
        unlabelled_share: share of rows whose label is left out.
        shard_rows: as in `ActivationWriter.create`.

    Raises:
        ConfigError: a size is too small, or there is no such layer or dimension.
        StoreError: the store cannot be written.

    Examples:
        >>> import tempfile
        >>> from kview.data import ActivationStore, write_synthetic_store
        >>> path = tempfile.mkdtemp()
        >>> write_synthetic_store(path, num_rows=6, num_layers=3, hidden_size=4, max_tokens=5)
        >>> store = ActivationStore.open(path)
        >>> len(store), store.num_layers, sorted(set(store.halu.tolist()))
        (6, 3, [0, 1])
    """
    if num_rows < 1 or num_layers < 1 or hidden_size < 4 or max_tokens < 1:
        raise ConfigError(
            f"num_rows={num_rows}, num_layers={num_layers}, hidden_size={hidden_size}, "
            f"max_tokens={max_tokens}: at least 1, and hidden_size at least 4"
        )
    signal_layers = range(num_layers) if signal_layers is None else signal_layers
    if not set(signal_layers) <= set(range(num_layers)) or not 0 <= outliers <= hidden_size - 4:
        raise ConfigError(
            f"signal_layers={list(signal_layers)} must be among the {num_layers} layers, and "
            f"outliers={outliers} leave at least 4 of hidden_size={hidden_size} dimensions"
        )
    carries = np.isin(np.arange(num_layers), list(signal_layers))
    rng = np.random.default_rng(seed)
    layers = [_draw_layer(rng, hidden_size, affine_layers) for _ in range(num_layers)]
    topics = rng.normal(size=(8, hidden_size))
    topics[:, 0] = 0.0  # the first axis is the label's
    halu = rng.permutation(np.arange(num_rows) % 2)
    lengths = rng.integers(1, max(2, max_tokens * 3 // 2 + 1), num_rows)
    hidden = rng.random(num_rows) < unlabelled_share
    with ActivationWriter.create(
        path,
        layers=range(num_layers),
        hidden_size=hidden_size,
        max_tokens=max_tokens,
        model=f"synthetic (seed {seed})",
        shard_rows=shard_rows,
        durable=False,
    ) as writer:
        for row in range(num_rows):
            tokens = min(int(lengths[row]), max_tokens)
            sign = 2 * int(halu[row]) - 1
            middle = np.tile(topics[rng.integers(len(topics))], (num_layers, 1))  # (L, H)
            middle[:, 0] = sign * signal / 2 * carries + rng.normal(size=num_layers)
            noise = rng.normal(size=(num_layers, tokens, hidden_size)) * 0.5
            values = middle[:, None] + noise  # (L, T', H)
            for place, layer in enumerate(layers):
                values[place] = values[place] @ layer.rotation + layer.offset
            if outliers:
                values[..., -outliers:] = _outliers(rng, num_layers, tokens, outliers)
            question = _QUESTIONS[row // 2 % len(_QUESTIONS)].format(f"town {row // 2}")
            writer.append(
                values.astype(np.float32),
                token_count=tokens,
                response_length=int(lengths[row]),
                input_length=int(rng.integers(8, 65)),
                hashkey=f"synthetic-{seed}-{row:06d}",
                halu=-1 if hidden[row] else int(halu[row]),
                group=f"town {row // 2}",
                prompt=question,
                response=f"Answer {row}, {_VERDICTS[int(halu[row])]}.",
            )


def _outliers(rng: np.random.Generator, num_layers: int, tokens: int, count: int) -> np.ndarray:
    """(L, T', count): each token as many hundreds as its layer is deep, a tenth more or less."""
    depth = 200.0 * np.arange(1, num_layers + 1)[:, None, None]
    return depth * np.array([1, -1] * count)[:count] * (1 + 0.1 * rng.normal(size=(tokens, count)))


def _draw_layer(rng: np.random.Generator, hidden_size: int, affine: bool) -> _Layer:
    if not affine:
        return _Layer(np.eye(hidden_size), np.zeros(hidden_size))
    rotation, _ = np.linalg.qr(rng.normal(size=(hidden_size, hidden_size)))
    return _Layer(rotation, rng.normal(size=hidden_size) * 2)
