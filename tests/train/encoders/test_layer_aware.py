import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from kview.contracts import ConfigError, ContractError, KViewBatch
from kview.data import ActivationDataset, ActivationStore, write_synthetic_store
from kview.eval import KNNDetector, embed, evenly_spaced, reference_set
from kview.train import (
    ContrastiveTrainer,
    ContrastiveTrainerConfig,
    LayerAwareContrastiveTrainer,
    LayerAwareContrastiveTrainerConfig,
    ProgressiveCompressor,
)
from kview.train.encoders.layer_aware import (
    Conditioning,
    LayerAwareProgressiveCompressor,
)

H, D, LAYERS = 12, 4, (0, 3, 7)
CONDITIONINGS = (None, *get_args(Conditioning))


def encoder_with(conditioning: Conditioning | None) -> LayerAwareProgressiveCompressor:
    torch.manual_seed(0)
    encoder = LayerAwareProgressiveCompressor(
        H, D, layer_ids=LAYERS, conditioning=conditioning, dropout=0.0
    )
    with torch.no_grad():  # FiLM starts as the identity
        for name, parameter in encoder.named_parameters():
            if name.startswith("film"):
                parameter.normal_()
    return encoder


def batch_of(num_views: int, offset: float = 0.0) -> KViewBatch:
    generator = torch.Generator().manual_seed(1)
    indices = torch.stack(
        [torch.randperm(len(LAYERS), generator=generator)[:num_views] for _ in range(20)]
    )
    x = torch.randn(20, num_views, 6, H, generator=generator)
    mask = torch.rand(20, 6, generator=generator) < 0.7
    mask[:, 0] = True
    return KViewBatch(
        hashkey=[str(b) for b in range(20)],
        halu=torch.zeros(20),
        views_activations=x * (1 + indices)[:, :, None, None] + offset,
        view_indices=indices,
        input_length=torch.ones(20, dtype=torch.int64),
        token_mask=mask,
    )


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_shape_gradients_and_config(conditioning: Conditioning | None):
    encoder = encoder_with(conditioning)
    flat = batch_of(2).flatten()
    z = encoder(flat.x, layer_idx=flat.layer_idx, token_mask=flat.token_mask)
    assert z.shape == (40, D)
    z.square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    again = LayerAwareProgressiveCompressor(**json.loads(json.dumps(encoder.config)))
    again.load_state_dict(encoder.state_dict())
    assert again.layer_ids == LAYERS
    torch.testing.assert_close(
        again(flat.x, layer_idx=flat.layer_idx, token_mask=flat.token_mask), z, rtol=0, atol=0
    )


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_conditioning_tells_layers_apart_and_nothing_else_does(conditioning: Conditioning | None):
    encoder = encoder_with(conditioning).eval()
    x = torch.randn(1, 5, H).expand(3, -1, -1)
    z = encoder(x, layer_idx=torch.tensor([0, 1, 1]))
    assert torch.allclose(z[1], z[2])
    assert torch.allclose(z[0], z[1]) == (conditioning is None)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_each_view_is_encoded_as_if_alone(conditioning: Conditioning | None):
    encoder = encoder_with(conditioning).eval()
    flat = batch_of(3).flatten()
    assert flat.layer_idx is not None
    assert flat.token_mask is not None
    z = encoder(flat.x, layer_idx=flat.layer_idx, token_mask=flat.token_mask)
    for m in range(0, 60, 7):
        one = slice(m, m + 1)
        alone = encoder(flat.x[one, flat.token_mask[m]], layer_idx=flat.layer_idx[one])
        torch.testing.assert_close(alone, z[one], rtol=1e-4, atol=1e-5)


def test_calibrate_standardises_the_tokens_of_every_layer():
    encoder = encoder_with(None)
    batch = batch_of(2, offset=100.0)
    report = encoder.calibrate([batch])
    seen: list[Tensor] = []
    hook = encoder.compressor.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    flat = batch.flatten()
    assert flat.layer_idx is not None
    assert flat.token_mask is not None
    encoder(flat.x, layer_idx=flat.layer_idx, token_mask=flat.token_mask)
    hook.remove()
    for layer in range(len(LAYERS)):
        tokens = seen[0][flat.layer_idx == layer][flat.token_mask[flat.layer_idx == layer]]
        torch.testing.assert_close(tokens.mean(0), torch.zeros(H), atol=1e-3, rtol=0)
        torch.testing.assert_close(tokens.std(0, correction=0), torch.ones(H), atol=1e-3, rtol=0)
    torch.testing.assert_close(encoder.standardize.mean.double(), report.mean, atol=1e-4, rtol=1e-5)


def test_calibrate_maps_the_layers_of_the_data_by_id():
    batch = batch_of(3)
    straight, turned = encoder_with(None), encoder_with(None)
    straight.calibrate([batch])
    order = torch.tensor([2, 0, 1])
    positions = torch.argsort(order)
    report = turned.calibrate(
        [batch.replace(view_indices=positions[batch["view_indices"]])],
        layer_ids=[LAYERS[i] for i in order],
    )
    assert report.layer_ids == LAYERS
    torch.testing.assert_close(turned.standardize.mean, straight.standardize.mean)
    with pytest.raises(ConfigError, match=r"\[0, 3, 8\]"):
        turned.calibrate([batch], layer_ids=[0, 3, 8])


def test_a_dimension_that_never_varies_is_only_shifted():
    encoder = encoder_with(None)
    batch = batch_of(3)
    x = batch.views_activations.clone()
    x[..., 2] = 5.0
    encoder.calibrate([batch.replace(views_activations=x)])
    assert encoder.standardize.std[:, 2].eq(1).all()
    assert encoder.standardize.mean[:, 2].eq(5).all()


@pytest.mark.parametrize("index", [-1, 3])
def test_a_layer_out_of_range_is_refused(index: int):
    with pytest.raises(ContractError, match=r"0 to 2, positions in \[0, 3, 7\]"):
        encoder_with("positional")(torch.randn(2, 3, H), layer_idx=torch.tensor([0, index]))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"layer_ids": (0, 1), "num_layers": 2},
        {"num_layers": 0},
        {"layer_ids": ()},
        {"layer_ids": (1, 1)},
        {"num_layers": 2, "conditioning": "film"},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]):
    with pytest.raises(ConfigError):
        LayerAwareProgressiveCompressor(H, D, **settings)


def test_num_layers_is_short_for_the_first_ids():
    assert LayerAwareProgressiveCompressor(H, D, num_layers=3).layer_ids == (0, 1, 2)


def test_compiles_as_one_graph():
    encoder = encoder_with("film_both").eval()
    flat = batch_of(2).flatten()
    compiled = torch.compile(encoder, fullgraph=True, backend="aot_eager")
    arguments = {"layer_idx": flat.layer_idx, "token_mask": flat.token_mask}
    torch.testing.assert_close(compiled(flat.x, **arguments), encoder(flat.x, **arguments))


def knn_auroc(trainer: ContrastiveTrainer, dataset: ActivationDataset) -> float:
    """Trains on three quarters of the rows; how well the rest are told apart."""
    cut = len(dataset) * 3 // 4
    train, test = dataset.select(range(cut)), dataset.select(range(cut, len(dataset)))
    trainer.fit(train)
    views = evenly_spaced(len(dataset.layer_ids), dataset.num_views)
    reference = reference_set(embed(trainer.encoder, train.with_views(views)), "not_hallucinated")
    embeddings = embed(trainer.encoder, test.with_views(views))
    scores = KNNDetector().fit(reference).score(embeddings)
    return float(roc_auc_score(test.labels, scores))


def test_beats_the_plain_encoder_where_layers_differ_by_an_affine_map(tmp_path: Path):
    size: dict[str, Any] = {"num_layers": 12, "hidden_size": 16, "max_tokens": 3}
    write_synthetic_store(tmp_path / "s.zarr", num_rows=480, signal=2.0, affine_layers=True, **size)
    settings: dict[str, Any] = {
        "max_epochs": 30,
        "lr": 3e-3,
        "temperature": 0.5,
        "accelerator": "cpu",
    }
    torch.manual_seed(0)
    with ActivationStore.open(tmp_path / "s.zarr") as store:
        dataset = ActivationDataset(store, num_views=4)
        plain = ContrastiveTrainer(
            ProgressiveCompressor(16, 16), ContrastiveTrainerConfig(**settings)
        )
        aware = LayerAwareContrastiveTrainer(
            LayerAwareProgressiveCompressor(16, 16, layer_ids=dataset.layer_ids),
            LayerAwareContrastiveTrainerConfig(**settings),
        )
        figures = {"plain": knn_auroc(plain, dataset), "aware": knn_auroc(aware, dataset)}
    assert figures["aware"] > 0.9
    assert figures["aware"] > figures["plain"] + 0.1
