"""Do intervals cover? Scores are drawn many times over, and intervals held against the truth."""

from collections.abc import Iterable

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score

from kview.eval import Estimate
from kview.eval.detection.auroc import auroc_interval, placements
from kview.eval.detection.calibration import calibration
from kview.eval.detection.comparison import delong
from kview.eval.detection.intervals import resamples
from kview.eval.detection.scoring import detection_metrics
from kview.eval.detection.selective import selective_metrics

pytestmark = pytest.mark.soak

DRAWS = 1000
AUROCS = (0.6, 0.75, 0.9, 0.97)


def shift(auroc: float) -> float:
    """How far two normals of deviation 1 lie apart whose AUROC this is."""
    return float(np.sqrt(2) * norm.ppf(auroc))


def covered(intervals: Iterable[tuple[float, float] | None], truth: float) -> float:
    found = [low <= truth <= high for low, high in filter(None, intervals)]
    assert found
    return float(np.mean(found))


def noise(random: np.random.Generator, groups: np.ndarray, likeness: float) -> np.ndarray:
    """Normal, of deviation 1, with a correlation of `likeness` within groups."""
    shared = random.normal(size=groups.max() + 1)[groups]
    return np.sqrt(likeness) * shared + np.sqrt(1 - likeness) * random.normal(size=len(groups))


def labels_in(groups: np.ndarray, *, constant: bool) -> np.ndarray:
    """Half the rows are hallucinated: whole groups of them, or every other row of each group."""
    return (groups if constant else np.arange(len(groups))) % 2


@pytest.mark.parametrize("auroc", AUROCS)
@pytest.mark.parametrize("positive", [0.5, 0.2])
@pytest.mark.parametrize("n", [20, 40, 200])
def test_auroc_covers_for_few_rows(n, positive, auroc):
    random = np.random.default_rng([n, round(100 * auroc)])
    labels = (np.arange(n) < positive * n).astype(int)
    groups = np.arange(n)
    share = covered(
        (
            auroc_interval(random.normal(size=n) + shift(auroc) * labels, labels, groups)
            for _ in range(DRAWS)
        ),
        auroc,
    )
    print(f"rows {n} positive {positive} auroc {auroc} {share:.3f}")
    assert share >= 0.93


@pytest.mark.parametrize("auroc", AUROCS)
@pytest.mark.parametrize("likeness", [0.0, 0.5, 0.98])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("n_groups", [10, 20, 50])
def test_auroc_covers_for_few_groups(n_groups, constant, likeness, auroc):
    random = np.random.default_rng([n_groups, round(100 * auroc), round(100 * likeness)])
    groups = np.repeat(np.arange(n_groups), np.arange(n_groups) % 6 + 2)  # 2 to 7 rows each
    labels = labels_in(groups, constant=constant)
    share = covered(
        (
            auroc_interval(noise(random, groups, likeness) + shift(auroc) * labels, labels, groups)
            for _ in range(DRAWS)
        ),
        auroc,
    )
    print(f"groups {n_groups} constant {constant} likeness {likeness} auroc {auroc} {share:.3f}")
    assert share >= 0.93


@pytest.mark.parametrize("pair", [(0.6, 0.6), (0.9, 0.9), (0.97, 0.97), (0.9, 0.75), (0.97, 0.75)])
@pytest.mark.parametrize("likeness", [0.0, 0.9])
@pytest.mark.parametrize("n_groups", [10, 20, 50])
@pytest.mark.parametrize("kind", ["rows", "constant", "mixed"])
def test_differences_cover(kind, n_groups, likeness, pair):
    """`likeness` is the correlation of the two scorers; groups are of four rows, alike at 0.7."""
    random = np.random.default_rng([n_groups, round(10 * likeness), round(100 * sum(pair))])
    groups = np.arange(2 * n_groups) if kind == "rows" else np.repeat(np.arange(n_groups), 4)
    labels = labels_in(groups, constant=kind == "constant")
    within = 0.0 if kind == "rows" else 0.7

    def draw() -> Estimate:
        common = noise(random, groups, within)
        first, second = (
            placements(
                np.sqrt(likeness) * common
                + np.sqrt(1 - likeness) * noise(random, groups, within)
                + shift(auroc) * labels,
                labels,
                groups,
            )
            for auroc in pair
        )
        return delong(first, second)[0]

    share = covered((draw().interval for _ in range(DRAWS)), pair[0] - pair[1])
    print(f"difference {kind} {n_groups} likeness {likeness} pair {pair} {share:.3f}")
    assert share >= 0.91


@pytest.mark.parametrize("auroc", AUROCS)
@pytest.mark.parametrize(("n", "positive"), [(40, 20), (200, 100), (200, 20)])
def test_bootstrapped_metrics_cover_where_they_have_an_interval(n, positive, auroc):
    random = np.random.default_rng([n, positive, round(100 * auroc)])
    labels = (np.arange(n) < positive).astype(int)
    many = (np.arange(400_000) < 400_000 * positive / n).astype(int)
    precision = average_precision_score(many, random.normal(size=len(many)) + shift(auroc) * many)
    false_alarms = norm.sf(shift(auroc) + norm.ppf(0.05))
    found = [
        detection_metrics(
            random.normal(size=n) + shift(auroc) * labels,
            labels,
            resamples(labels, count=400, seed=seed),
        )
        for seed in range(300)
    ]
    share = covered((m.average_precision.interval for m in found), float(precision))
    print(f"average_precision {n} {positive} auroc {auroc} {share:.3f}")
    assert share >= 0.90
    if positive >= 72:
        share = covered((m.fpr95.interval for m in found), float(false_alarms))
        print(f"fpr95 {n} {positive} auroc {auroc} {share:.3f}")
        assert share >= 0.92
    else:
        assert all(m.fpr95.interval is None for m in found)


def selective_covers(groups: np.ndarray, *, whole: bool, likeness: float, positive: float, auroc):
    """AURC and the prediction-rejection ratio of rows whose labels are drawn as they are.

    The truth is the mean over 20,000 draws of as many rows: what a fresh test set of this size has
    in expectation. Averaged over n coverages, AURC is larger than its limit for many rows (by .035
    for 10 groups at AUROC .9), and a scorer is compared with others on the same rows.
    """
    random = np.random.default_rng([*groups.shape, round(100 * auroc), round(100 * likeness)])
    n, n_groups = len(groups), int(groups.max()) + 1

    def draws(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = random.random((count, n_groups if whole else n)) < positive
        labels = labels[:, groups] if whole else labels
        shared = random.normal(size=(count, n_groups))[:, groups]
        scores = np.sqrt(likeness) * shared + np.sqrt(1 - likeness) * random.normal(size=(count, n))
        both = labels.any(axis=1) & ~labels.all(axis=1)
        return (scores + shift(auroc) * labels)[both], labels[both].astype(int)

    scores, labels = draws(20_000)
    ordered = np.take_along_axis(labels, np.argsort(-scores, axis=1), axis=1).astype(float)
    many = selective_metrics(ordered.cumsum(axis=1), (1 - ordered).cumsum(axis=1))
    found = [
        detection_metrics(s, y, resamples(y, groups=groups, count=400, seed=seed), groups=groups)
        for seed, (s, y) in enumerate(zip(*draws(300), strict=True))
    ]
    for name, values in many.items():
        share = covered((getattr(m, name).interval for m in found), float(values.mean()))
        which = f"{name} rows {n} groups {n_groups} whole {whole} likeness {likeness}"
        print(f"{which} positive {positive} auroc {auroc} {share:.3f}")
        assert share >= 0.90


@pytest.mark.parametrize("auroc", AUROCS)
@pytest.mark.parametrize("positive", [0.5, 0.2])
@pytest.mark.parametrize("n", [20, 40, 200])
def test_selective_metrics_cover_for_few_rows(n, positive, auroc):
    selective_covers(np.arange(n), whole=True, likeness=0.0, positive=positive, auroc=auroc)


@pytest.mark.parametrize("auroc", AUROCS)
@pytest.mark.parametrize("likeness", [0.0, 0.5, 0.98])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("n_groups", [10, 20, 50])
def test_selective_metrics_cover_for_few_groups(n_groups, whole, likeness, auroc):
    groups = np.repeat(np.arange(n_groups), np.arange(n_groups) % 6 + 2)  # 2 to 7 rows each
    selective_covers(groups, whole=whole, likeness=likeness, positive=0.5, auroc=auroc)


@pytest.mark.parametrize("slope", [0.5, 2.0, 6.0])
@pytest.mark.parametrize(("n", "n_groups"), [(40, 40), (200, 200), (80, 20), (200, 50)])
def test_losses_cover(n, n_groups, slope):
    """Labels follow the probabilities, and the rows of a group are alike in both."""
    random = np.random.default_rng([n, n_groups, round(10 * slope)])
    groups = np.arange(n) % n_groups
    within = 0.0 if n == n_groups else 0.5

    def draw(groups: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray]:
        chances = 1 / (1 + np.exp(-slope * noise(random, groups, within)))
        labels = norm.cdf(noise(random, groups, within)) < chances
        return chances, labels.astype(int)

    chances, labels = draw(np.arange(1_000_000), 0.0)
    right = np.where(labels == 1, chances, 1 - chances)
    truths = {"brier": np.mean((1 - right) ** 2), "log_loss": np.mean(-np.log(right))}
    found = [calibration(*draw(groups, within), groups) for _ in range(DRAWS)]
    for name, truth in truths.items():
        share = covered((getattr(c, name).interval for c in found), float(truth))
        print(f"{name} {n} {n_groups} slope {slope} {share:.3f}")
        assert share >= 0.90
