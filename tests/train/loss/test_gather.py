import pytest
import torch

from helpers.gather_ranks import (
    GlobalBatch,
    each_ranks_part,
    errors_of_unlike_ranks,
    loss_and_gradients,
)
from helpers.gloo import on_ranks
from kview.train.loss.supcon import SupConLoss, supcon_loss


def batches(world_size: int, dtype: torch.dtype) -> list[GlobalBatch]:
    """Uneven and empty parts; classes that only one rank has; ids on several ranks; none at all."""
    generator = torch.Generator().manual_seed(0)
    B = 7
    x = torch.randn(B, 3, 6, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.tensor([0.0, 0, 0, -1, 1, 1, 0])
    ids = torch.tensor([5, -2, 5, 2**62, 8, -(2**62), 5])
    cuts = {
        2: [(3, B), (0, B), (B, B), (6, B)],
        3: [(3, 4, B), (0, 0, B), (2, 2, B), (1, 6, B)],
    }[world_size]
    given = [(labels, None), (labels.long(), ids), (None, None), (None, ids)]
    return [GlobalBatch(x, y, i, ends) for (y, i), ends in zip(given, cuts, strict=True)]


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_have_the_loss_and_the_gradient_of_one_process(world_size: int):
    tolerances = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 0.02}
    weight = torch.randn(6, 4, dtype=torch.float64)
    cases = [(b, weight.to(d)) for d in tolerances for b in batches(world_size, d)]
    by_rank = on_ranks(world_size, each_ranks_part, cases)
    for results in by_rank:
        for (batch, w), (loss, grad) in zip(cases, results, strict=True):
            expected_loss, expected_grad = loss_and_gradients(batch, w)
            tolerance = tolerances[w.dtype]
            assert abs(loss - expected_loss) <= tolerance * abs(expected_loss)
            assert (grad - expected_grad).norm() <= tolerance * expected_grad.norm()
    for results in zip(*by_rank, strict=True):  # every rank reports one and the same loss
        assert len({loss.item() for loss, _ in results}) == 1


def test_ranks_that_disagree_all_say_so():
    z = torch.randn(2, 3, 4)
    labels = torch.zeros(2)
    unlike_views = [(z, None), (z[:, :2], None)]
    unlike_dims = [(z, None), (z[:, :, :3], None)]
    unlike_labels = [(z, labels), (z[:0], None)]
    unlike_dtypes = [(z, None), (z.double(), None)]
    no_positive = [(z[:0], None), (z[:0], None)]
    parts = [unlike_views, unlike_dims, unlike_labels, unlike_dtypes, no_positive]
    first, second = on_ranks(2, errors_of_unlike_ranks, parts)
    assert first == second
    names = ["K: between processes", "D: between", "dtype of labels", "dtype of z_views", "z_views"]
    assert len(first) == len(names)
    for name, message in zip(names, first, strict=True):
        assert name in message


def test_without_a_process_group_it_is_the_plain_loss():
    z, labels = torch.randn(4, 2, 3), torch.tensor([0, 0, 1, 1])
    torch.testing.assert_close(
        SupConLoss(across_processes=True)(z, labels), supcon_loss(z, labels), rtol=0, atol=0
    )
