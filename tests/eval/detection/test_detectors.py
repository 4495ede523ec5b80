"""The detectors, against scikit-learn and direct formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors

from helpers.oracles import pair_cosines_by_loops
from kview.contracts import ConfigError, ContractError, EmbeddingBatch, LabelError, NotFittedError
from kview.eval import CosineDetector, KNNDetector, MahalanobisDetector, reference_set

DETECTORS = [KNNDetector(k=3), MahalanobisDetector(), CosineDetector()]


def embeddings(n: int, K: int = 3, D: int = 5, seed: int = 0, **fields) -> EmbeddingBatch:
    z = torch.randn(n, K, D, generator=torch.Generator().manual_seed(seed))
    z[..., 0] += 2  # so that no mean of views comes near zero
    return EmbeddingBatch(z_views=z, **fields)


def vectors(batch: EmbeddingBatch) -> np.ndarray:
    unit = torch.nn.functional.normalize(batch.z_views.double(), dim=-1)
    return torch.nn.functional.normalize(unit.mean(dim=1), dim=-1).numpy()


@given(n=st.integers(4, 30), k=st.integers(1, 3), seed=st.integers(0, 1000))
def test_knn_equals_scikit_learn(n, k, seed):
    reference, batch = embeddings(n, seed=seed), embeddings(7, seed=seed + 1)
    nearest = NearestNeighbors(n_neighbors=k).fit(vectors(reference))
    expected = nearest.kneighbors(vectors(batch))[0].mean(axis=1)
    scores = KNNDetector(k=k).fit(reference).score(batch)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-9)


def test_knn_does_not_depend_on_its_tiles(monkeypatch):
    reference, batch = embeddings(20), embeddings(9, seed=1)
    whole = KNNDetector(k=4).fit(reference).score(batch)
    monkeypatch.setattr("kview.eval.detection.neighbours._TILE", 40)
    monkeypatch.setattr("kview.eval.detection.neighbours._ROWS", 2)
    monkeypatch.setattr("kview.eval.detection.neighbours._BLOCK", 3)
    torch.testing.assert_close(KNNDetector(k=4).fit(reference).score(batch), whole)


def test_knn_is_exact_where_neighbours_nearly_coincide():
    reference = embeddings(8)
    batch = EmbeddingBatch(z_views=reference.z_views.double() + 1e-7)
    nearest = NearestNeighbors(n_neighbors=1).fit(vectors(reference))
    expected = nearest.kneighbors(vectors(batch))[0][:, 0]
    scores = KNNDetector(k=1).fit(reference).score(batch)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("clusters", [1, 2])
@pytest.mark.parametrize("spread", [1e-2, 1e-3, 1e-6])
def test_knn_is_exact_where_all_embeddings_lie_close_together(spread, clusters):
    random = torch.Generator().manual_seed(0)
    centres = torch.randn(clusters, 1, 64, generator=random, dtype=torch.float64)
    z = centres.repeat(400 // clusters, 2, 1) + spread * torch.randn(
        400, 1, 64, generator=random, dtype=torch.float64
    )
    reference, batch = EmbeddingBatch(z_views=z[:350]), EmbeddingBatch(z_views=z[350:])
    apart = vectors(batch)[:, None] - vectors(reference)
    expected = np.sort(np.linalg.norm(apart, axis=-1), axis=1)[:, :5].mean(axis=1)
    scores = KNNDetector(k=5).fit(reference).score(batch)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-9)


def test_knn_is_exact_among_many_equal_neighbours():
    z = torch.cat([torch.ones(30, 2, 4), embeddings(10, K=2, D=4).z_views])
    reference = EmbeddingBatch(z_views=z)
    apart = vectors(reference)[:, None] - vectors(reference)
    expected = np.sort(np.linalg.norm(apart, axis=-1), axis=1)[:, :5].mean(axis=1)
    scores = KNNDetector(k=5).fit(reference).score(reference)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-9)


@given(n=st.integers(10, 40), seed=st.integers(0, 1000))
def test_mahalanobis_equals_scikit_learn(n, seed):
    reference, batch = embeddings(n, D=4, seed=seed), embeddings(6, D=4, seed=seed + 1)
    x = vectors(reference)
    covariance = EmpiricalCovariance().fit(x)
    scale = np.trace(covariance.covariance_) / 4
    covariance.precision_ = np.linalg.inv(covariance.covariance_ + 0.01 * scale * np.eye(4))
    expected = np.sqrt(covariance.mahalanobis(vectors(batch)))
    scores = MahalanobisDetector(ridge=0.01).fit(reference).score(batch)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-7)


def test_cosine_is_one_minus_the_mean_of_the_pairs():
    batch = embeddings(5, K=4)
    scores = CosineDetector().fit(batch).score(batch)
    for b, score in enumerate(scores.tolist()):
        within, _ = pair_cosines_by_loops(batch.z_views[b : b + 1])
        assert score == pytest.approx(1 - sum(within) / len(within))


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: type(d).__name__)
@given(st.data())
def test_scores_do_not_depend_on_the_embeddings_scale(detector, data):
    seed = data.draw(st.integers(0, 1000))
    reference, batch = embeddings(12, seed=seed), embeddings(4, seed=seed + 1)
    scores = detector.fit(reference).score(batch)
    lengths = torch.rand(2, generator=torch.Generator().manual_seed(seed)) * 50 + 0.1
    scaled = detector.fit(EmbeddingBatch(z_views=reference.z_views * lengths[0])).score(
        EmbeddingBatch(z_views=batch.z_views * lengths[1])
    )
    torch.testing.assert_close(scaled, scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("detector", [KNNDetector(), MahalanobisDetector()])
def test_scores_before_fit_are_refused(detector):
    with pytest.raises(NotFittedError, match=type(detector).__name__):
        detector.score(embeddings(3))


def test_too_few_reference_rows_are_refused():
    with pytest.raises(ConfigError, match="at least 6 samples and got 5"):
        KNNDetector(k=5).fit(embeddings(5))
    with pytest.raises(ConfigError, match="at least 2 reference samples and got 1"):
        MahalanobisDetector().fit(embeddings(1))


def test_a_singular_covariance_needs_a_ridge():
    few = embeddings(3, D=6)
    with pytest.raises(ConfigError, match="singular with ridge=0"):
        MahalanobisDetector(ridge=0).fit(few)
    assert MahalanobisDetector().fit(few).score(few).isfinite().all()
    same = EmbeddingBatch(z_views=torch.ones(5, 2, 3))
    with pytest.raises(ConfigError, match="reference samples that differ"):
        MahalanobisDetector().fit(same)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="k=0"):
        KNNDetector(k=0)
    with pytest.raises(ConfigError, match="ridge=-1"):
        MahalanobisDetector(ridge=-1)


def test_views_that_cancel_out_have_no_vector():
    z = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]).repeat(4, 1, 1)
    with pytest.raises(ContractError, match="mean views"):
        KNNDetector(k=1).fit(EmbeddingBatch(z_views=z))


def test_the_reference_set_is_chosen_explicitly():
    train = embeddings(4, halu=torch.tensor([0.0, 1.0, -1.0, 0.0]), hashkey=["a", "b", "c", "d"])
    assert reference_set(train, "not_hallucinated").hashkey == ["a", "d"]
    assert reference_set(train, "all").equals(train)
    unlabelled = embeddings(4, halu=torch.full((4,), -1.0))
    for batch in (unlabelled, embeddings(4)):
        with pytest.raises(LabelError, match='pass reference="all"'):
            reference_set(batch, "not_hallucinated")
