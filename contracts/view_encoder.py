"""How an encoder is called: its keywords, its dtype, its layers, its device and its mode."""

import copy
import inspect
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .boundaries import boundary
from .embeddings import ZViews
from .errors import ConfigError
from .protocols import Encoder
from .views import FlatViews, KViewBatch, restore_views

_KEYWORDS = ("layer_idx", "token_mask")


class ViewEncoder:
    """An encoder together with what is known of how to call it; reads its signature once.

    Args:
        encoder: takes x (M, T, H) and whichever of `layer_idx` (M,) and `token_mask` (M, T) its
            signature names; gives (M, D).
        layer_ids: the model's layer ids at the positions that `view_indices` name. Where the
            encoder has `layer_ids` of its own, positions are mapped to its by id.
        module: called in place of `encoder`, as a wrapped or compiled form of it.

    Raises:
        ConfigError: a layer of the data is none of the encoder's.

    Examples:
        >>> import torch
        >>> from kview.contracts import FlatViews, ViewEncoder
        >>> encode = ViewEncoder(lambda x: x.mean(1))
        >>> encode.flat(FlatViews(x=torch.randn(12, 16, 32))).shape
        torch.Size([12, 32])
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        layer_ids: Sequence[int] | None = None,
        module: Encoder | None = None,
    ) -> None:
        self.encoder = encoder
        self.keywords = encoder_keywords(encoder)
        self._call = encoder if module is None else module
        self.layer_ids = None if layer_ids is None else tuple(layer_ids)
        self._layer_map()  # refuses layers that the encoder does not know

    def around(self, encoder: Encoder) -> "ViewEncoder":
        """The same, of a copy of the encoder: one on another device, or with other weights."""
        other = copy.copy(self)
        other.encoder = other._call = encoder
        return other

    @boundary
    def __call__(self, batch: KViewBatch) -> ZViews:
        """Encodes all views of a batch at once.

        Raises:
            ContractError: the batch, or what the encoder gave, breaks its contract.
        """
        return restore_views(self.flat(batch.flatten()), batch.num_views)

    @boundary
    def flat(self, views: FlatViews) -> Float[Tensor, "M D"]:
        """Encodes flattened views, cast to the encoder's dtype unless it `casts_input`: (M, D).

        Raises:
            ContractError: the encoder gave something else.
        """
        raw = getattr(self.encoder, "casts_input", False)
        x = views.x if raw else views.x.to(_dtype(self.encoder))
        arguments: dict[str, Tensor | None] = {}
        if "layer_idx" in self.keywords:
            arguments["layer_idx"] = self._layers(views.layer_idx)
        if "token_mask" in self.keywords:
            arguments["token_mask"] = views.token_mask
        return self._call(x, **arguments)

    def of(self, layer_ids: Sequence[int] | None) -> "ViewEncoder":
        """Itself where it knows which layers its data has, and else for data with these."""
        if self.layer_ids is not None:
            return self
        return ViewEncoder(self.encoder, layer_ids=layer_ids, module=self._call)

    def _layers(self, layer_idx: Tensor | None) -> Tensor | None:
        if layer_idx is None:
            return None
        places = self._layer_map()
        return layer_idx if places is None else places.to(layer_idx.device)[layer_idx]

    def _layer_map(self) -> Tensor | None:
        """The encoder's position of each of the data's layers; None where they are the same.

        It is asked for at each call: calibration may change the encoder's layers.
        """
        own, given = getattr(self.encoder, "layer_ids", None), self.layer_ids
        if own is None or given is None or tuple(own) == given:
            return None
        missing = [i for i in given if i not in own]
        if missing:
            raise ConfigError(
                f"the data has layers {missing} that the encoder was not made for (it knows "
                f"{list(own)}); choose relevant_layers among those"
            )
        return torch.tensor([tuple(own).index(i) for i in given])


def encoder_keywords(encoder: Encoder) -> frozenset[str]:
    """Which of `layer_idx` and `token_mask` an encoder's signature takes."""
    parameters = _parameters(encoder)
    if _takes_any(parameters):
        return frozenset(_KEYWORDS)
    return frozenset(k for k in _KEYWORDS if k in parameters)


def needs_layer_idx(encoder: Encoder) -> bool:
    """Whether an encoder cannot be called without `layer_idx`."""
    parameters = _parameters(encoder)
    layer_idx = parameters.get("layer_idx")
    if layer_idx is None:
        return _takes_any(parameters)
    return layer_idx.default is inspect.Parameter.empty


def _parameters(encoder: Encoder) -> Mapping[str, inspect.Parameter]:
    function = encoder.forward if isinstance(encoder, nn.Module) else encoder
    return inspect.signature(function).parameters


def _takes_any(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def _dtype(encoder: Encoder) -> torch.dtype:
    if isinstance(encoder, nn.Module):
        for parameter in encoder.parameters():
            if parameter.is_floating_point():
                return parameter.dtype
    return torch.float32


@contextmanager
def eval_mode(model: object) -> Generator[None]:
    """Puts a module and all inside it into eval mode without gradients, and back as they were.

    An encoder that is no `nn.Module` has no mode; only gradients are off.
    """
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    training = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, was in zip(modules, training, strict=True):
            module.training = was


def device_of(model: object) -> torch.device:
    """Where a module's first parameter or buffer is; the CPU where it has none."""
    if isinstance(model, nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return torch.device("cpu")
