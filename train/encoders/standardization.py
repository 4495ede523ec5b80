"""`LayerStandardization`: every dimension of every layer on one scale, and back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...contracts import ConfigError, ContractError, boundary, current_level
from .layer_statistics import LayerStatistics

_ROUNDING = 1e-6
"""Deviations below this share of the mean are float32's rounding, not the data's."""


class LayerStandardization(nn.Module):
    """Takes each layer's mean from each dimension and divides by its deviation there.

    The residual stream of a causal language model has a few dimensions that are hundreds of times
    larger than the rest; what follows sees little else unless each is put on its own scale first.
    Values pass as they are until statistics are set. It has no parameters; statistics travel in
    the state dict, and a state dict brings its own layers along.

    Args:
        input_dim: H.
        layer_ids: the model's layer ids, L of them, for good; none to take those that statistics
            are set of.

    Attributes:
        layer_ids: the layers; () where values pass as they are, or where all layers share one
            mean and one deviation.
        mean: (L, H), or (1, H) where the layers share it.
        std: likewise; 1 for a dimension that does not vary, NaN for a layer that was never seen.

    Raises:
        ConfigError: a layer is named twice.

    Examples:
        >>> import torch
        >>> from kview.train import LayerStandardization, LayerStatistics
        >>> standardize = LayerStandardization(2)
        >>> standardize.set_statistics(LayerStatistics(
        ...     layer_ids=(7,), count=torch.tensor([9]), norm=torch.tensor([2e4]),
        ...     mean=torch.tensor([[2e4, 0.0]]), std=torch.tensor([[100.0, 1e-4]])))
        >>> x = torch.tensor([[[2.01e4, 2e-4]]])  # one view of one token
        >>> y = standardize(x, torch.tensor([0]))
        >>> y.round(decimals=3)
        tensor([[[1., 2.]]])
        >>> torch.allclose(standardize.inverse(y, torch.tensor([0])), x)
        True
    """

    def __init__(self, input_dim: int, layer_ids: Sequence[int] = ()) -> None:
        super().__init__()
        self.layer_ids = self.made_for = tuple(layer_ids)
        if len(set(self.layer_ids)) < len(self.layer_ids):
            raise ConfigError(f"layer_ids={list(self.layer_ids)} must name no layer twice")
        self.mean: Tensor
        self.std: Tensor
        self.known_ids: Tensor
        self.register_buffer("mean", torch.zeros(len(self.layer_ids), input_dim))
        self.register_buffer("std", torch.ones(len(self.layer_ids), input_dim))
        self.register_buffer("known_ids", torch.tensor(self.layer_ids, dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_make_room)

    @boundary
    def forward(
        self, x: Float[Tensor, "M T H"], layer_idx: Int[Tensor, " M"] | None = None
    ) -> Float[Tensor, "M T H"]:
        """Standardises, in at least float32.

        Args:
            x: activations, (M, T, H).
            layer_idx: position of each view's layer in `layer_ids`, (M,); may be None where
                layers are not told apart.

        Raises:
            ContractError: a layer is not given, out of range, or was never seen (values are looked
                at on the CPU; elsewhere at level `full`, for that waits for the device).
        """
        if not len(self.mean):
            return x
        mean, std = self._of(layer_idx)
        return (x.to(torch.promote_types(x.dtype, mean.dtype)) - mean) / std

    @boundary
    def inverse(
        self, y: Float[Tensor, "M T H"], layer_idx: Int[Tensor, " M"] | None = None
    ) -> Float[Tensor, "M T H"]:
        """The activations that `forward` made `y` of; its arguments and errors."""
        if not len(self.mean):
            return y
        mean, std = self._of(layer_idx)
        return y * std + mean

    def set_statistics(self, statistics: LayerStatistics) -> None:
        """Takes over what was measured, layers included.

        A dimension whose deviation is nothing but rounding is shifted only.

        Raises:
            ConfigError: they are of another H, or of other layers than it was made for.
        """
        found, H = statistics.mean.shape[1], self.mean.shape[1]
        if found != H or (self.made_for and tuple(statistics.layer_ids) != self.made_for):
            raise ConfigError(
                f"statistics of layers {list(statistics.layer_ids)} and H={found} do not fit "
                f"layers {list(self.made_for) or 'of any kind'} and H={H}"
            )
        std = statistics.std.clone()
        std[std <= _ROUNDING * statistics.mean.abs()] = 1
        self.mean = statistics.mean.to(self.mean)
        self.std = std.to(self.std)
        self.layer_ids = tuple(statistics.layer_ids)
        self.known_ids = torch.tensor(self.layer_ids, dtype=torch.int64, device=self.mean.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves the statistics with the module, but never to fewer digits than float32's."""
        before = {"mean": self.mean, "std": self.std}
        super()._apply(fn, recurse)
        for name, kept in before.items():
            moved = getattr(self, name)
            if moved.dtype.itemsize < kept.dtype.itemsize and moved.dtype.itemsize < 4:
                setattr(self, name, kept.to(moved.device))
        return self

    def _of(self, layer_idx: Tensor | None) -> tuple[Tensor, Tensor]:
        """Each view's mean and deviation, (M, 1, H) or (1, 1, H)."""
        if not self.layer_ids:
            return self.mean[:, None], self.std[:, None]
        if layer_idx is None:
            rule = f"Int (M,), positions in the layers {list(self.layer_ids)} it was calibrated on"
            raise ContractError.of("encoder", "layer_idx", "missing", rule, "None")
        self._check_known(layer_idx)
        return self.mean[layer_idx, None], self.std[layer_idx, None]

    def _check_known(self, layer_idx: Tensor) -> None:
        if torch.compiler.is_compiling() or layer_idx.numel() == 0:
            return
        if layer_idx.device.type != "cpu" and current_level() != "full":
            return
        low, high = (int(i) for i in torch.aminmax(layer_idx))
        if low < 0 or high >= len(self.layer_ids):
            rule = f"0 to {len(self.layer_ids) - 1}, positions in {list(self.layer_ids)}"
            raise ContractError.of("encoder", "layer_idx", "range", rule, f"{low} to {high}")
        unseen = self.std[:, 0].isnan()
        if unseen[layer_idx].any():
            seen = self.known_ids[~unseen].tolist()
            unknown = self.known_ids[layer_idx[unseen[layer_idx]].unique()].tolist()
            rule = (
                f"a layer that calibration has seen, {seen} (raise calibration_batches, or leave "
                "the layer out of relevant_layers)"
            )
            raise ContractError.of("encoder", "layer_idx", "unseen layer", rule, f"{unknown}")


def _make_room(
    module: LayerStandardization, state_dict: Mapping[str, Any], prefix: str, *_: object
) -> None:
    """Gives the buffers the size of what is to be loaded into them."""
    mean, known = state_dict.get(f"{prefix}mean"), state_dict.get(f"{prefix}known_ids")
    if mean is None or known is None or mean.shape[1:] != module.mean.shape[1:]:
        return  # torch says what is missing or does not fit
    if module.made_for and tuple(known.tolist()) != module.made_for:
        raise RuntimeError(
            f"the statistics are of layers {known.tolist()}, and the encoder was made for "
            f"{list(module.made_for)}"
        )
    module.mean = module.mean.new_empty(mean.shape)
    module.std = module.std.new_empty(mean.shape)
    module.known_ids = module.known_ids.new_empty(known.shape)
    module.layer_ids = tuple(known.tolist())
