"""Choosing k by leave-one-out."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from kview.contracts import ConfigError, EmbeddingBatch, LabelError
from kview.eval import KNNDetector, choose_k, reference_set


def labelled(n: int = 24, seed: int = 0) -> EmbeddingBatch:
    z = torch.randn(n, 2, 4, generator=torch.Generator().manual_seed(seed))
    halu = torch.arange(n) % 3 - 1.0
    z[..., 0] += 2 + halu.unsqueeze(-1)
    return EmbeddingBatch(z_views=z, halu=halu)


def without(batch: EmbeddingBatch, row: int) -> EmbeddingBatch:
    keep = [b for b in range(len(batch)) if b != row]
    assert batch.halu is not None
    return EmbeddingBatch(z_views=batch.z_views[keep], halu=batch.halu[keep])


@pytest.mark.parametrize("reference", ["not_hallucinated", "all"])
def test_each_row_is_scored_by_a_detector_fitted_without_it(reference):
    train = labelled()
    chosen = choose_k(train, reference=reference, candidates=(1, 3, 5))
    labels = train["halu"].numpy()
    known = np.flatnonzero(labels >= 0).tolist()
    for k, auroc in chosen.auroc.items():
        scores = []
        for row in known:
            detector = KNNDetector(k).fit(reference_set(without(train, row), reference))
            scores.append(detector.score(train).tolist()[row])
        assert auroc == pytest.approx(roc_auc_score(labels[known], scores))
    assert chosen.auroc[chosen.k] == max(chosen.auroc.values())


def test_candidates_too_large_are_left_out():
    assert set(choose_k(labelled(), candidates=(1, 7, 8, 100)).auroc) == {1, 7}
    with pytest.raises(ConfigError, match="too small for every k"):
        choose_k(labelled(), candidates=(8,))


def test_choosing_needs_both_classes():
    with pytest.raises(LabelError, match="both classes"):
        choose_k(EmbeddingBatch(z_views=torch.randn(4, 2, 3), halu=torch.zeros(4)))
    with pytest.raises(LabelError, match="both classes"):
        choose_k(EmbeddingBatch(z_views=torch.randn(4, 2, 3)))
