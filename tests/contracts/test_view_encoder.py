"""How an encoder is called: its mode, its device, its layers."""

import pytest
import torch
from torch import Tensor, nn

from kview.contracts import (
    ConfigError,
    FlatViews,
    ViewEncoder,
    device_of,
    encoder_keywords,
    eval_mode,
)


def test_eval_mode_is_left_as_it_was_found_after_an_error_too() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    model[1].eval()
    before = [module.training for module in model.modules()]

    def fails() -> None:
        with eval_mode(model):
            assert not any(module.training for module in model.modules())
            assert not torch.is_grad_enabled()
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert [module.training for module in model.modules()] == before == [True, True, False, False]
    assert torch.is_grad_enabled()


def test_a_function_has_no_mode() -> None:
    with eval_mode(len):
        assert not torch.is_grad_enabled()


def test_a_model_is_where_its_first_parameter_or_buffer_is() -> None:
    assert device_of(nn.Linear(2, 2, device="meta")) == torch.device("meta")
    assert device_of(nn.BatchNorm1d(2, affine=False, device="meta")) == torch.device("meta")
    assert device_of(nn.Dropout()) == device_of(len) == torch.device("cpu")


def test_an_encoder_is_called_with_the_keywords_of_its_signature() -> None:
    assert encoder_keywords(lambda x, **others: x) == {"layer_idx", "token_mask"}
    assert encoder_keywords(lambda x, *, layer_idx: x) == {"layer_idx"}
    assert encoder_keywords(lambda x: x) == frozenset()


class ByLayer(nn.Module):
    """Gives back each view's layer, which it counts by ids of its own."""

    layer_ids = (3, 9, 1)

    def forward(self, x: Tensor, *, layer_idx: Tensor) -> Tensor:
        return layer_idx[:, None].float()


def test_positions_of_the_data_are_mapped_to_the_encoders_by_id() -> None:
    views = FlatViews(x=torch.zeros(2, 1, 1), layer_idx=torch.tensor([0, 1]))
    z = ViewEncoder(ByLayer(), layer_ids=[1, 3]).flat(views)
    assert z.flatten().tolist() == [2, 0]
    with pytest.raises(ConfigError, match=r"layers \[7\] that the encoder was not made for"):
        ViewEncoder(ByLayer(), layer_ids=[1, 7])


def test_layers_that_an_encoder_learns_later_are_mapped_all_the_same():
    class Learner(torch.nn.Module):
        layer_ids: tuple[int, ...] | None = None

        def forward(self, x, *, layer_idx):
            return layer_idx[:, None].float().expand(-1, 2)

    encoder = Learner()
    views = ViewEncoder(encoder, layer_ids=[4, 7])
    flat = FlatViews(x=torch.zeros(2, 1, 3), layer_idx=torch.tensor([0, 1]))
    assert views.flat(flat)[:, 0].tolist() == [0, 1]
    encoder.layer_ids = (7, 4)
    assert views.flat(flat)[:, 0].tolist() == [1, 0]
    assert views.of([7, 4]) is views
    assert ViewEncoder(encoder).of([4, 7]).flat(flat)[:, 0].tolist() == [1, 0]
