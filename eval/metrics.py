"""Metrics of K-view embeddings, exact and independent of how the samples were cut into batches.

With unit z, S_s the sum of sample s's views and S of all, over n samples of K views (M = nK):

    intra  = (sum_s |S_s|^2 - M) / (n K (K-1))      mean cosine of the view pairs within samples
    inter  = (|S|^2 - sum_s |S_s|^2) / (M^2 - n K^2)      mean cosine of views of different samples
    margin = intra - inter

Both need no similarity matrix, only sums: O(D) state, one pass, in float64.
"""

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from ..contracts import ContractError, ZViews, boundary
from .unit_vectors import direction_error, double, unit_views, without_direction

_TILE = 1 << 17
"""Numbers held in float64 at once: 1 MiB, so that a tile stays in cache."""

_TIE = 1e-12
"""Float64 cosines that differ by less are rounding: such neighbours tie."""

_SUMS = 4
"""Sums in front of S in a state: samples, views, sum_s |S_s|^2, views without a direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KViewMetricValues:
    """What `KViewMetrics` computes.

    Attributes:
        intra_cos: mean cosine over all view pairs within samples, -1 to 1.
        intra_inter_margin: `intra_cos` less the mean cosine between samples; None for one sample,
            which has nothing to be compared with.
        n_samples: the samples seen.
    """

    intra_cos: float
    intra_inter_margin: float | None
    n_samples: int


class KViewMetrics:
    """Intra-sample cosine and intra-inter margin of a stream of batches.

    Across processes, sum the states: `KViewMetrics(all_reduce(metrics.state), num_views=K)`.

    Args:
        state: the `state` of another, or a sum of several; None starts empty.
        num_views: K of that state.

    Examples:
        >>> import torch
        >>> from kview.eval import KViewMetrics
        >>> metrics = KViewMetrics()
        >>> for z_views in torch.eye(4)[:, None].repeat(1, 3, 1).split(2):  # three views, all alike
        ...     metrics.update(z_views)
        >>> metrics.compute()
        KViewMetricValues(intra_cos=1.0, intra_inter_margin=1.0, n_samples=4)
    """

    def __init__(
        self, state: Float[Tensor, " S"] | None = None, *, num_views: int | None = None
    ) -> None:
        self._state = state
        self._num_views = num_views

    @property
    def num_views(self) -> int:
        """K.

        Raises:
            ContractError: nothing has been seen.
        """
        return self._seen()[1]

    @property
    def state(self) -> Float[Tensor, " S"]:
        """The sums so far, (4 + D,) float64: adding two states adds what they have seen.

        Raises:
            ContractError: nothing has been seen, so D is unknown; `update` with an empty
                (0, K, D) tells it.
        """
        return self._seen()[0]

    @boundary
    def update(self, z_views: Float[Tensor, "B K D"]) -> None:
        """Adds the samples of one batch; waits for no device.

        Args:
            z_views: embeddings (B, K, D), of any length; B may be 0.

        Raises:
            ContractError: K or D differ from what was seen before.
        """
        self._add(_sums(z_views.detach()), z_views.shape[1])

    def merge(self, other: Self) -> None:
        """Adds what another has seen.

        Raises:
            ContractError: K or D differ.
        """
        self._add(*other._seen())

    def compute(self) -> KViewMetricValues:
        """The metrics of all samples seen.

        Raises:
            ContractError: no sample has been seen, or a view was zero or not finite.
        """
        state, num_views = self._seen()
        total = state[_SUMS:].square().sum().view(1)
        n, views, within, bad, total = torch.cat([state[:_SUMS], total]).tolist()
        if bad:
            raise direction_error(int(bad), int(views))
        if not n:
            raise _size_error("KViewMetrics", "at least one sample", "none")
        intra = (within - views) / (views * (num_views - 1))
        inter = (total - within) / (views**2 - views * num_views) if n > 1 else None
        return KViewMetricValues(
            intra_cos=intra,
            intra_inter_margin=None if inter is None else intra - inter,
            n_samples=int(n),
        )

    def _seen(self) -> tuple[Tensor, int]:
        if self._state is None or self._num_views is None:
            raise _size_error("KViewMetrics", "at least one batch", "none")
        return self._state, self._num_views

    def _add(self, state: Tensor, num_views: int) -> None:
        if self._state is None:
            self._state, self._num_views = state, num_views
            return
        sizes = [f"K={k}, D={s.numel() - _SUMS}" for s, k in (self._seen(), (state, num_views))]
        if sizes[0] != sizes[1]:
            expected = f"{sizes[0]} as before"
            raise ContractError.of("KViewMetrics", "z_views", "axes K, D", expected, sizes[1])
        self._state = self._state + state.to(self._state.device)


@boundary
def intra_sample_cosine_mean(z_views: ZViews) -> Float[Tensor, ""]:
    """Mean cosine over all K(K-1)/2 view pairs of each sample; for K=2 the pair cosine.

    Args:
        z_views: embeddings (B, K, D), of any length.

    Returns:
        A float64 scalar, -1 to 1.

    Raises:
        ContractError: a view is zero or not finite.

    Examples:
        >>> import torch
        >>> from kview.eval import intra_sample_cosine_mean
        >>> alike, apart = [[2.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]
        >>> intra_sample_cosine_mean(torch.tensor([alike, apart]))
        tensor(0.5000, dtype=torch.float64)
    """
    return torch.tensor(_computed(z_views).intra_cos, dtype=torch.float64)


@boundary
def intra_inter_margin(z_views: ZViews) -> Float[Tensor, ""]:
    """Mean cosine within samples less mean cosine between views of different samples.

    Args:
        z_views: embeddings (B, K, D), of any length, B >= 2.

    Returns:
        A float64 scalar, -2 to 2.

    Raises:
        ContractError: there is one sample only, or a view is zero or not finite.

    Examples:
        >>> import torch
        >>> from kview.eval import intra_inter_margin
        >>> intra_inter_margin(torch.eye(3)[:, None].repeat(1, 2, 1))  # at right angles
        tensor(1., dtype=torch.float64)
    """
    margin = _computed(z_views).intra_inter_margin
    if margin is None:
        raise _size_error("intra_inter_margin", "B >= 2 samples, to compare between", "B = 1")
    return torch.tensor(margin, dtype=torch.float64)


@boundary
def view_retrieval_top1(z_views: ZViews) -> Float[Tensor, ""]:
    """How often a view finds its own sample: the share of views whose nearest neighbour does.

    View k is looked up among all samples' view k+1 (mod K), by cosine. A tie is not a hit.

    Args:
        z_views: embeddings (B, K, D), of any length, B >= 2.

    Returns:
        A float64 scalar, 0 to 1.

    Raises:
        ContractError: there is one sample only, or a view is zero or not finite.

    Examples:
        >>> import torch
        >>> from kview.eval import view_retrieval_top1
        >>> view_retrieval_top1(torch.eye(3)[:, None].repeat(1, 2, 1))
        tensor(1., dtype=torch.float64)
    """
    B, K, _ = z_views.shape
    if B < 2:
        raise _size_error("view_retrieval_top1", "B >= 2 samples, to choose between", "B = 1")
    unit = unit_views(z_views)
    hits = 0
    rows = max(1, _TILE * 8 // B)
    for k in range(K):
        candidates = unit[:, (k + 1) % K].T  # (D, B)
        for start in range(0, B, rows):
            cosines = unit[start : start + rows, k] @ candidates  # (rows, B)
            own = cosines.diagonal(start).clone()
            cosines.diagonal(start).fill_(-torch.inf)
            hits += int((own > cosines.amax(dim=1) + _TIE).sum())
    return torch.tensor(hits / (B * K), dtype=torch.float64)


def _computed(z_views: Tensor) -> KViewMetricValues:
    metrics = KViewMetrics()
    metrics.update(z_views)
    return metrics.compute()


def _sums(z_views: Tensor) -> Tensor:
    """The state of one batch."""
    B, K, D = z_views.shape
    state = double(z_views.new_zeros(_SUMS + D))
    state[0] = B
    state[1] = B * K
    samples = max(1, _TILE // (K * D))
    for tile in z_views.split(samples):
        wide = double(tile)
        norms = wide.norm(dim=-1, keepdim=True)  # (b, K, 1)
        per_sample = (wide / norms).sum(dim=1)  # (b, D)
        state[2] += per_sample.square().sum()
        state[3] += without_direction(norms).sum()
        state[_SUMS:] += per_sample.sum(dim=0)
    return state


def _size_error(subject: str, expected: str, got: str) -> ContractError:
    return ContractError.of(subject, "z_views", "size of B", expected, got)
