"""AUROC: its value from placements, how far it varies by chance, and an interval that covers.

The placement of a hallucinated row is the share of the others that score lower, ties half; that of
another row, the share of the hallucinated that score higher. AUROC is the mean of either kind.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .intervals import Groups, Interval

Array = NDArray[np.float64]

_ABOVE = 0.975
"""The quantile of Student's t at the ends of a 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placements:
    """Where each row stands among those of the other class, and to which group it belongs.

    Differences of two scorers' placements are placements too: all that follows is linear.

    Attributes:
        positive: of hallucinated rows, (m,).
        negative: of the others, (n,).
        positive_groups: theirs, (m,).
        negative_groups: theirs, (n,).
    """

    positive: Array
    negative: Array
    positive_groups: Groups
    negative_groups: Groups

    @property
    def mean(self) -> float:
        """AUROC, or the difference of two."""
        return float(self.positive.mean())

    @property
    def group_counts(self) -> tuple[int, int]:
        """The groups that hold hallucinated rows, and those that hold others."""
        return len(np.unique(self.positive_groups)), len(np.unique(self.negative_groups))

    def less(self, other: "Placements") -> "Placements":
        """These placements less another scorer's of the same rows."""
        return Placements(
            positive=self.positive - other.positive,
            negative=self.negative - other.negative,
            positive_groups=self.positive_groups,
            negative_groups=self.negative_groups,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """How far a mean of placements varies from one draw of groups to another.

    Attributes:
        variance: of the mean; infinite where all rows of a class are in one group.
        degrees: of freedom of that variance (Welch and Satterthwaite); 0 where it is infinite.
    """

    variance: float
    degrees: float

    @property
    def quantile(self) -> float:
        """Student's t at 97.5 %; infinite without a degree of freedom."""
        from scipy.special import stdtrit

        return float(stdtrit(self.degrees, _ABOVE)) if self.degrees > 0 else np.inf


def placements(
    scores: NDArray[np.floating], labels: NDArray[np.integer], groups: Groups
) -> Placements:
    """Placements of scores, by ranks (Sun and Xu 2014, eq. 10).

    Args:
        scores: (n,), finite.
        labels: 1 or 0, (n,), both occurring.
        groups: as whole numbers, (n,).
    """
    from scipy.stats import rankdata

    yes = labels == 1
    ranks = rankdata(scores)
    return Placements(
        positive=(ranks[yes] - rankdata(scores[yes])) / (~yes).sum(),
        negative=1 - (ranks[~yes] - rankdata(scores[~yes])) / yes.sum(),
        positive_groups=groups[yes],
        negative_groups=groups[~yes],
    )


def chance(placed: Placements) -> Chance:
    """The variance of DeLong et al. (1988) where each row is its own group, and that of Obuchowski
    (1997, eq. 4) where groups are larger.
    """
    of_positive, of_negative = placed.group_counts
    if min(of_positive, of_negative) < 2:
        return Chance(variance=np.inf, degrees=0)
    n_groups = 1 + max(placed.positive_groups.max(), placed.negative_groups.max())
    positive = np.bincount(
        placed.positive_groups, placed.positive - placed.mean, minlength=n_groups
    ) / len(placed.positive)
    negative = np.bincount(
        placed.negative_groups, placed.negative - placed.mean, minlength=n_groups
    ) / len(placed.negative)
    present = len(np.union1d(placed.positive_groups, placed.negative_groups))
    a = of_positive / (of_positive - 1) * float(positive @ positive)
    b = of_negative / (of_negative - 1) * float(negative @ negative)
    both = 2 * present / (present - 1) * float(positive @ negative)
    least = min(of_positive, of_negative) - 1
    apart = a**2 / (of_positive - 1) + b**2 / (of_negative - 1)
    degrees = max(least, (a + b) ** 2 / apart) if apart > 0 else least
    return Chance(variance=max(0.0, a + b + both), degrees=degrees)


def auroc_interval(
    scores: NDArray[np.floating], labels: NDArray[np.integer], groups: Groups
) -> Interval:
    """A 95 % interval that covers for few rows, for few groups and near 1.

    Newcombe's (2006, method 5): all AUROCs t that lie within q standard errors of the found one,
    the standard error being the one that t itself has with m and n rows. Three changes: q is
    Student's; m and n count rows by what they are worth in their groups (Kish's design effect, with
    the correlation of ranks within groups); and the variance is that of `chance` where that is
    larger.

    Args:
        scores: (n,), finite.
        labels: 1 or 0, (n,), both occurring.
        groups: as whole numbers, (n,).

    Returns:
        Its bounds; (0, 1) where all rows of a class are in one group.
    """
    from scipy.optimize import root_scalar

    placed = placements(scores, labels, groups)
    found, q = chance(placed), placed.mean
    if found.degrees <= 0:
        return 0.0, 1.0
    m, n = (
        len(of_class) / _design_effect(scores[of_class], groups[of_class])
        for of_class in (np.flatnonzero(labels == 1), np.flatnonzero(labels == 0))
    )
    expected = _variance_at(q, m, n)
    reach = found.quantile**2
    excess = max(1.0, found.variance / expected) if expected > 0 else 1.0

    def beyond(t: float) -> float:
        return (q - t) ** 2 - reach * excess * _variance_at(t, m, n)

    def bound(end: float) -> float:
        inside = q + (end - q) * 1e-9  # at 0 and at 1 the found value is itself a root
        if q == end or beyond(end) <= 0:
            return end
        return float(root_scalar(beyond, bracket=(inside, end), method="brentq").root)

    return bound(0.0), bound(1.0)


def _variance_at(t: float, m: float, n: float) -> float:
    """The variance of an AUROC of t with m and n rows (Newcombe 2006, after Hanley and McNeil)."""
    others = max(0.0, (m + n) / 2 - 1)
    return t * (1 - t) * (1 + others * ((1 - t) / (2 - t) + t / (1 + t))) / (m * n)


def _design_effect(scores: NDArray[np.floating], groups: Groups) -> float:
    """How many rows of one class are worth one row of independent draws, 1 or more.

    From the correlation within groups of the class's ranks, by analysis of variance: unlike that of
    placements it is known where the classes do not overlap.
    """
    from scipy.stats import rankdata

    _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n, n_groups = len(groups), len(sizes)
    if n_groups == n or n_groups < 2:
        return 1.0
    ranks = rankdata(scores)
    means = np.bincount(groups, ranks) / sizes
    between = float(sizes @ (means - ranks.mean()) ** 2) / (n_groups - 1)
    within = float(((ranks - means[groups]) ** 2).sum()) / (n - n_groups)
    size = (n - float((sizes**2).sum()) / n) / (n_groups - 1)
    total = between + (size - 1) * within
    correlation = min(1.0, max(0.0, (between - within) / total)) if total > 0 else 1.0
    return 1 + (float((sizes**2).sum()) / n - 1) * correlation
