"""Choosing k on validation rows."""

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


@pytest.mark.parametrize("reference", ["not_hallucinated", "all"])
def test_each_k_is_worth_what_its_detector_reaches_on_the_validation_rows(reference):
    train, val = labelled(), labelled(15, seed=1)
    chosen = choose_k(train, val, reference=reference, candidates=(1, 3, 5))
    labels = val["halu"].numpy()
    known = labels >= 0
    for k, auroc in chosen.auroc.items():
        scores = KNNDetector(k).fit(reference_set(train, reference)).score(val).numpy()
        assert auroc == pytest.approx(roc_auc_score(labels[known], scores[known]))
    assert chosen.auroc[chosen.k] == max(chosen.auroc.values())


def test_labels_that_say_nothing_make_no_k_look_good():
    z = torch.randn(400, 2, 4, generator=torch.Generator().manual_seed(0))
    halu = torch.arange(400) % 2.0
    z[:200, :, 0] += 10 * halu[:200, None]  # an encoder that has learnt its rows by heart
    train = EmbeddingBatch(z_views=z[:200], halu=halu[:200])
    val = EmbeddingBatch(z_views=z[200:], halu=halu[200:])
    assert max(choose_k(train, val).auroc.values()) < 0.6


def test_candidates_too_large_are_left_out():
    train, val = labelled(), labelled(15, seed=1)
    assert set(choose_k(train, val, candidates=(1, 7, 8, 100)).auroc) == {1, 7}
    with pytest.raises(ConfigError, match="too small for every k"):
        choose_k(train, val, candidates=(8,))


@pytest.mark.parametrize("halu", [torch.zeros(4), None])
def test_choosing_needs_both_classes(halu):
    val = EmbeddingBatch(z_views=torch.randn(4, 2, 3), halu=halu)
    with pytest.raises(LabelError, match="validation rows of both labels"):
        choose_k(labelled(), val)
    with pytest.raises(LabelError, match="validation rows of both labels"):
        choose_k(labelled(), None)
