from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kview.contracts import ConfigError, ContractError, KViewBatch
from kview.train.encoders.layer_statistics import measure_layers

LAYERS, H = 3, 5


def make_batch(B: int, K: int, T: int, generator: torch.Generator, masked: bool) -> KViewBatch:
    """Layers of unlike means and scales, far from zero where naive sums of squares fail."""
    indices = torch.stack([torch.randperm(LAYERS, generator=generator)[:K] for _ in range(B)])
    x = torch.randn(B, K, T, H, generator=generator)
    x = x * (indices + 1)[:, :, None, None] + 1000.0 * indices[:, :, None, None]
    mask = torch.rand(B, T, generator=generator) < 0.6
    mask[:, 0] = True
    return KViewBatch(
        hashkey=[str(b) for b in range(B)],
        halu=torch.zeros(B),
        views_activations=x,
        view_indices=indices,
        input_length=torch.ones(B, dtype=torch.int64),
        token_mask=mask if masked else None,
    )


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    K=st.integers(2, LAYERS),
    T=st.integers(1, 6),
    masked=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_equals_numpy_on_all_tokens_together(
    sizes: list[int], K: int, T: int, masked: bool, seed: int
):
    generator = torch.Generator().manual_seed(seed)
    whole = make_batch(4, LAYERS, T, generator, masked=False)  # so that no layer is missing
    batches = [whole, *(make_batch(B, K, T, generator, masked) for B in sizes)]
    found = measure_layers(iter(batches), (10, 20, 30))
    assert found.layer_ids == (10, 20, 30)
    for layer in range(LAYERS):
        tokens = np.concatenate(
            [
                b.views_activations[s, v][b.token_mask[s] if b.token_mask is not None else ...]
                for b in batches
                for s in range(len(b))
                for v in range(b.num_views)
                if b["view_indices"][s, v] == layer
            ]
        ).astype(np.float64)
        assert found.count[layer] == len(tokens)
        np.testing.assert_allclose(found.mean[layer], tokens.mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.std[layer], tokens.std(0), rtol=1e-9, atol=1e-12)
        norms = np.linalg.norm(tokens, axis=1)
        np.testing.assert_allclose(found.norm[layer], norms.mean(), rtol=1e-12)


def test_how_the_data_is_cut_into_batches_does_not_matter():
    batch = make_batch(12, LAYERS, 4, torch.Generator().manual_seed(0), masked=True)
    whole = measure_layers([batch], range(LAYERS))
    names = ("halu", "views_activations", "view_indices", "input_length", "token_mask")
    parts = [
        batch.replace(hashkey=batch.hashkey[i : i + 4], **{n: batch[n][i : i + 4] for n in names})
        for i in (0, 4, 8)
    ]
    found = measure_layers(parts, range(LAYERS))
    for name in ("count", "mean", "std", "norm"):
        torch.testing.assert_close(
            getattr(found, name), getattr(whole, name), rtol=1e-12, atol=1e-12
        )


def test_reads_no_further_than_max_batches():
    def batches() -> Iterator[KViewBatch]:
        generator = torch.Generator().manual_seed(0)
        for _ in range(2):
            yield make_batch(2, LAYERS, 3, generator, masked=False)
        pytest.fail("a third batch was read")

    assert measure_layers(batches(), range(LAYERS), max_batches=2).count.tolist() == [12] * LAYERS


def test_the_report_names_every_layer():
    batch = make_batch(2, LAYERS, 3, torch.Generator().manual_seed(0), masked=False)
    lines = str(measure_layers([batch], (4, 8, 15))).splitlines()
    assert [line.split(":")[0] for line in lines] == ["layer 4", "layer 8", "layer 15"]
    assert "6 tokens" in lines[0]


def test_what_cannot_be_measured_is_refused():
    batch = make_batch(2, LAYERS, 3, torch.Generator().manual_seed(0), masked=False)
    with pytest.raises(ContractError, match=r"unseen layer.*\[9\]"):
        measure_layers([batch], (0, 1, 2, 9))
    with pytest.raises(ContractError, match="unseen layer"):
        measure_layers([], (0, 1, 2))
    with pytest.raises(ContractError, match="0 to 1, got 2"):
        measure_layers([batch], (0, 1))
    with pytest.raises(ContractError, match="missing"):
        measure_layers([batch.replace(view_indices=None)], (0, 1, 2))
    narrow = batch.replace(views_activations=batch.views_activations[..., :2])
    with pytest.raises(ContractError, match="size of H"):
        measure_layers([batch, narrow], (0, 1, 2))
    with pytest.raises(ConfigError, match="max_batches=0"):
        measure_layers([batch], (0, 1, 2), max_batches=0)
