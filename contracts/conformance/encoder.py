"""`check_encoder`: is an encoder what trainers and evaluators take it for?"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ..checking.report import Report, describe
from ..errors import ConfigError
from ..levels import checks
from ..protocols import Encoder
from ..view_encoder import ViewEncoder, eval_mode
from ..views import FlatViews, KViewBatch

_SAMPLES = 3


def check_encoder(
    encoder: Encoder,
    *,
    hidden_size: int | None = None,
    num_layers: int | None = None,
    max_tokens: int = 6,
    num_views: Sequence[int] = (2, 4, 8),
    device: torch.device | str = "cpu",
    tolerance: float = 1e-4,
) -> None:
    """Checks that an encoder is what trainers and evaluators take it for.

    In eval mode, for every K: it gives finite floating embeddings (M, D) with one D; the same ones
    when asked again; the same ones whichever views are encoded together; and it leaves its input
    alone. If it takes a `token_mask`: what masked tokens hold makes no difference, and no mask is
    the mask that keeps all. Its mode is restored afterwards.

    Args:
        encoder: the encoder, on `device`.
        hidden_size: H; by default the encoder's own `input_dim` or `hidden_size`.
        num_layers: how many layers the views come from; by default as many as the encoder's
            `layer_ids`, else 8. Layers repeat where there are fewer than K.
        max_tokens: T.
        num_views: the values of K.
        device: where the batches are put.
        tolerance: the largest difference that counts as none, relative and absolute.

    Raises:
        ConfigError: H is neither given nor known to the encoder.
        ContractError: with everything that was found, whatever the encoder raises included.

    Examples:
        >>> from kview.contracts.conformance import check_encoder
        >>> check_encoder(lambda x: x.mean(1), hidden_size=4)
        >>> check_encoder(lambda x: x.mean(1) - x.mean((0, 1)), hidden_size=4)
        Traceback (most recent call last):
        kview.contracts.errors.ContractError: check_encoder(function) breaks 3 rules of ...
          - K=2: independence: expected embeddings that do not depend on the other views, ...
    """
    H = _hidden_size(encoder) if hidden_size is None else hidden_size
    L = len(getattr(encoder, "layer_ids", None) or range(8)) if num_layers is None else num_layers
    report = Report(f"check_encoder({type(encoder).__name__})")
    views = report.attempt("encoder", "a signature to call it by", lambda: ViewEncoder(encoder))
    if views is not None:
        with checks("full"), eval_mode(encoder):
            for K in num_views:
                batch = _random_batch(K, max_tokens, H, L).to(device)
                z = report.attempt(f"K={K}", "embeddings (M, D)", partial(views, batch))
                if z is not None:
                    report.put("D", f"K={K}", z.shape[2])
                    check = partial(_check_values, report, f"K={K}", views, batch, z, tolerance)
                    report.attempt(f"K={K}", "embeddings of any of these views", check)
    report.raise_if_any()


def _check_values(
    report: Report, name: str, views: ViewEncoder, batch: KViewBatch, z: Tensor, tolerance: float
) -> None:
    flat = batch.flatten()
    before = flat.map_tensors(Tensor.clone)
    whole = views.flat(flat)  # (M, D)
    if not flat.equals(before):
        report.add((name,), "input", "left as it is", "changed in place")
    if not bool(whole.isfinite().all()):
        report.add((name,), "not finite", "finite embeddings", f"{describe(whole)} with NaN or inf")
        return

    def same(rule: str, expected: str, other: Tensor) -> None:
        error = float((whole - other).abs().max())
        if not torch.allclose(whole, other, rtol=tolerance, atol=tolerance):
            report.add((name,), rule, expected, f"a difference of up to {error:.2g}")

    if not torch.equal(whole, views.flat(flat)):
        report.add(
            (name,), "determinism", "the same embeddings in eval mode", "others when asked again"
        )
    rows = [views.flat(_rows(flat, slice(i, i + 1))) for i in range(len(whole))]
    same("independence", "embeddings that do not depend on the other views", torch.cat(rows))
    same("restored", "(B, K, D) in the order of the views", z.flatten(0, 1))
    if "token_mask" in views.keywords and flat.token_mask is not None:
        noise = torch.where(flat.token_mask[:, :, None], flat.x, 100 * torch.ones_like(flat.x))
        same(
            "token_mask", "embeddings that ignore masked tokens", views.flat(flat.replace(x=noise))
        )
        all_real = flat.replace(token_mask=torch.ones_like(flat.token_mask))
        whole = views.flat(all_real)
        same(
            "token_mask",
            "None to mean that all are real",
            views.flat(all_real.replace(token_mask=None)),
        )


def _random_batch(K: int, T: int, H: int, L: int) -> KViewBatch:
    generator = torch.Generator().manual_seed(K)
    shape = (_SAMPLES, K, T, H)
    repeat = K > L
    drawn = torch.randint(L, (_SAMPLES, K), generator=generator)
    distinct = torch.rand(_SAMPLES, L, generator=generator).argsort(1)[:, :K]
    mask = torch.arange(T) <= torch.arange(_SAMPLES)[:, None]  # 1, 2, ... tokens are real
    x = torch.randn(shape, generator=generator) * mask[:, None, :, None]
    return KViewBatch(
        hashkey=[f"sample-{b}" for b in range(_SAMPLES)],
        halu=torch.tensor([0.0, 1.0, -1.0]),
        views_activations=x,
        view_indices=drawn if repeat else distinct,
        input_length=torch.zeros(_SAMPLES, dtype=torch.long),
        token_mask=mask,
        views_repeat=repeat,
    )


def _rows(flat: FlatViews, rows: slice) -> FlatViews:
    return flat.map_tensors(lambda x: x[rows])


def _hidden_size(encoder: Encoder) -> int:
    for name in ("input_dim", "hidden_size"):
        size = getattr(encoder, name, None)
        if isinstance(size, int):
            return size
    raise ConfigError(
        f"check_encoder: {type(encoder).__name__} has no input_dim or hidden_size to read H from; "
        "pass hidden_size="
    )
