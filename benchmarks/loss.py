"""SupCon forward and backward against the dense form and pytorch-metric-learning's.

Prints a JSON line per row: seconds of rounds that take turns, A B C A B C, and peak memory above
the inputs, each form in a fresh process; exits 1 where one is short. Run it with nothing else on
the machine:

    python benchmarks/loss.py [--samples 2048 --views 4 --dim 512 --rounds 3]
"""

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from kview.train import supcon_loss
from process_memory import in_a_fresh_process, resident, restart_peak
from rows import Compare, show

TEMPERATURE = 0.07


def dense_supcon(z_views: Tensor, labels: Tensor, weights: tuple[float, float] = (1, 1)) -> Tensor:
    """The same loss, weights and ignored labels included, with every (M, M) matrix held."""
    B, K, _ = z_views.shape
    z = normalize(z_views.flatten(0, 1), dim=1)
    y, sample = labels.repeat_interleave(K), torch.arange(B).repeat_interleave(K)
    self_pair = torch.eye(B * K, dtype=torch.bool)
    same_sample = sample[:, None] == sample
    same_class = (y[:, None] == y) & (y != -1) & ~same_sample
    w = weights[0] * (same_sample & ~self_pair) + weights[1] * same_class
    total = w.sum(1)
    logits = (z @ z.T / TEMPERATURE).masked_fill(self_pair, -torch.inf)
    positive = (w * logits.masked_fill(self_pair, 0)).sum(1) / total
    return (logits.logsumexp(1) - positive)[total > 0].mean()


def metric_learning_supcon(z_views: Tensor, labels: Tensor) -> Tensor:
    """pytorch-metric-learning's SupConLoss on the flattened views."""
    from pytorch_metric_learning.losses import SupConLoss  # heavy, and needed here only

    return SupConLoss(temperature=TEMPERATURE)(
        z_views.flatten(0, 1), labels.repeat_interleave(z_views.shape[1])
    )


def kview_supcon(z_views: Tensor, labels: Tensor) -> Tensor:
    """Ours."""
    return supcon_loss(z_views, labels, temperature=TEMPERATURE)


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kview": kview_supcon,
    "dense": dense_supcon,
    "pytorch-metric-learning": metric_learning_supcon,
}


def inputs(samples: int, views: int, dim: int) -> tuple[Tensor, Tensor]:
    """Random embeddings (B, K, D) that ask for a gradient, and labels of two classes (B,)."""
    generator = torch.Generator().manual_seed(0)
    z_views = torch.randn(samples, views, dim, generator=generator)
    return z_views.requires_grad_(), torch.arange(samples) % 2


def step(form: str, z_views: Tensor, labels: Tensor) -> float:
    """Seconds of one forward and backward."""
    z_views.grad = None
    start = time.perf_counter()
    FORMS[form](z_views, labels).backward()
    return time.perf_counter() - start


def peak_mib(form: str, samples: int, views: int, dim: int) -> float:
    """Peak memory of one step above imports and inputs, in MiB; in a fresh process."""
    arguments = [form, str(samples), str(views), str(dim)]
    return float(in_a_fresh_process(__file__, "--peak-of", *arguments))


def print_peak(form: str, samples: int, views: int, dim: int) -> None:
    """What the fresh process does."""
    step(form, *inputs(8, views, dim))  # first uses import and allocate
    z_views, labels = inputs(samples, views, dim)
    restart_peak()
    before = resident("VmRSS")
    step(form, z_views, labels)
    print((resident("VmHWM") - before) / 2**20)


def main() -> int:
    """Measures and prints; 1 where a row falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2048, help="B")
    parser.add_argument("--views", type=int, default=4, help="K")
    parser.add_argument("--dim", type=int, default=512, help="D")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak-of", nargs=4, metavar=("FORM", "B", "K", "D"))
    given = parser.parse_args()
    if given.peak_of:
        form, *sizes = given.peak_of
        print_peak(form, *map(int, sizes))
        return 0
    sizes = (given.samples, given.views, given.dim)
    z_views, labels = inputs(*sizes)
    gradients = {}
    for form in FORMS:  # a warm-up that also shows that all compute one thing
        step(form, z_views, labels)
        gradients[form] = z_views.grad
        torch.testing.assert_close(gradients[form], gradients["kview"], rtol=1e-3, atol=1e-7)
    seconds = {form: [] for form in FORMS}
    for _ in range(given.rounds):
        for form in FORMS:
            seconds[form].append(step(form, z_views, labels))
    peaks = {form: [peak_mib(form, *sizes) for _ in range(2)] for form in FORMS}
    measured: list[tuple[str, str, dict[str, list[float]], Compare, float]] = [
        ("SupCon forward and backward", "s", seconds, "times as fast", 3),
        ("SupCon peak memory", "MiB", peaks, "times as much", 1 / 8),
    ]
    met = True
    for form in list(FORMS)[1:]:
        for what, unit, found, compare, reach in measured:
            met &= show(
                what,
                size=f"M={given.samples * given.views} D={given.dim}",
                against=form,
                unit=unit,
                ours=found["kview"],
                theirs=found[form],
                compare=compare,
                reach=reach,
            )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
