"""The supervised contrastive loss of K views, exactly, in O(M D) memory.

With M = B*K views z_i, view i of sample s_i with label y_i, and l_ij = z_i.z_j / temperature:

    w_ij = same_sample_weight  where s_i = s_j and j != i
           same_class_weight   where s_i != s_j and y_i = y_j != ignore_label
           0                   otherwise;          W_i = sum_j w_ij
    L_i  = logsumexp_{j != i} l_ij - (1/W_i) sum_j w_ij l_ij
    L    = (temperature / base_temperature) mean of L_i over the views with W_i > 0

which is L_out of Khosla et al., "Supervised Contrastive Learning" (2020), eq. 2, with weights.
How it is computed without anything of size (M, M) stands in `supcon_kernel`.
"""

from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import forward_ad

from ...contracts import IGNORE_LABEL, AtLeast, ContractError, ZViews, boundary
from ...contracts.settings import NotNegative, Positive, settings
from .gather import gather_samples
from .supcon_kernel import KernelSettings, supcon_kernel

_Labels = Float[Tensor, " B"] | Int[Tensor, " B"]


@settings
class SupConSettings:
    """The settings of the loss, in the words of `supcon_loss`."""

    temperature: Positive = 0.07
    base_temperature: Positive | None = None
    same_sample_weight: NotNegative = 1.0
    same_class_weight: NotNegative = 1.0
    ignore_label: int = IGNORE_LABEL
    normalize: bool = True


@boundary
def supcon_loss(
    z_views: ZViews,
    labels: _Labels | None = None,
    *,
    sample_ids: Int[Tensor, " B"] | None = None,
    temperature: float = 0.07,
    base_temperature: float | None = None,
    same_sample_weight: float = 1.0,
    same_class_weight: float = 1.0,
    ignore_label: int = IGNORE_LABEL,
    normalize: bool = True,
) -> Float[Tensor, ""]:
    """The supervised contrastive loss; without labels that of SimCLR over K views.

    Computes in float32, or in float64 for float64 embeddings, also under autocast. An unlabelled
    sample's views are anchors for each other, and stand among everybody's negatives.

    Args:
        z_views: embeddings, (B, K, D).
        labels: the samples' classes, (B,), or None.
        sample_ids: rows with one id are one sample, (B,); None makes every row its own.
        temperature: divides the similarities.
        base_temperature: the loss is scaled by temperature / base_temperature; None is no scaling.
        same_sample_weight: weight of the views of the anchor's own sample.
        same_class_weight: weight of the views of other samples of its class.
        ignore_label: the label of a sample of no known class.
        normalize: scale every embedding to length 1 first.

    Returns:
        The loss, a scalar: the mean over all views that have a positive.

    Raises:
        ContractError: a shape is wrong, one id has unlike labels, no view has a positive, or a
            zero vector is to be normalised. NaN and infinity are passed on as NaN. Or embeddings
            carry a forward-mode tangent (`torch.func.jvp`, `jacfwd`): there is only a backward.
        ConfigError: a temperature is not positive, or a weight is negative.

    Examples:
        >>> import torch
        >>> from kview.train import supcon_loss
        >>> z_views = torch.eye(4)[:, None].expand(-1, 3, -1)  # equal views, orthogonal samples
        >>> supcon_loss(z_views, temperature=1)
        tensor(1.6698)
        >>> supcon_loss(z_views, torch.tensor([0, 0, 1, 1]), temperature=1)
        tensor(2.2698)
    """
    if not torch.compiler.is_compiling():  # where boundaries, too, step aside
        SupConSettings(
            temperature=temperature,
            base_temperature=base_temperature,
            same_sample_weight=same_sample_weight,
            same_class_weight=same_class_weight,
            ignore_label=ignore_label,
            normalize=normalize,
        )
        _refuse_tangent(z_views)
    z = z_views.flatten(0, 1)  # (M, D)
    if z.dtype != torch.float64:
        z = z.float()
    loss, _ = supcon_kernel(
        z,
        labels,
        sample_ids,
        *KernelSettings(
            num_views=z_views.shape[1],
            temperature=temperature,
            weights=(same_sample_weight, same_class_weight),
            ignore_label=ignore_label,
            normalize=normalize,
        ),
    )
    return loss if base_temperature is None else loss * (temperature / base_temperature)


def _refuse_tangent(z_views: Tensor) -> None:
    """Refuses what an operator without a forward-mode rule would drop without a word."""
    if forward_ad.unpack_dual(z_views).tangent is not None:
        raise ContractError.of(
            "supcon_loss",
            "z_views",
            "forward-mode tangent",
            "embeddings without one: the loss has only a backward (use torch.autograd.grad)",
            "a dual tensor, as of torch.func.jvp, jacfwd or torch.autograd.forward_ad",
        )


class SupConLoss(nn.Module):
    """`supcon_loss` with its settings kept.

    Args:
        across_processes: the loss of the batch over all processes of torch.distributed, each of
            which passes its own part, which may be empty. All get the same value; gradients are
            such that their *mean* over the processes, which DDP and FSDP take, is the gradient of
            that loss. Without a process group it makes no difference.

    The others are as in `supcon_loss`.

    Examples:
        >>> import torch
        >>> from kview.train import SupConLoss
        >>> loss_fn = SupConLoss(temperature=0.2, same_class_weight=2)
        >>> z_views = torch.randn(8, 4, 16, requires_grad=True)
        >>> loss_fn(z_views, torch.arange(8) % 2).backward()
        >>> z_views.grad.shape
        torch.Size([8, 4, 16])
    """

    def __init__(
        self,
        temperature: float = 0.07,
        base_temperature: float | None = None,
        same_sample_weight: float = 1.0,
        same_class_weight: float = 1.0,
        ignore_label: int = IGNORE_LABEL,
        normalize: bool = True,
        *,
        across_processes: bool = False,
    ) -> None:
        super().__init__()
        self.settings = SupConSettings(
            temperature=temperature,
            base_temperature=base_temperature,
            same_sample_weight=same_sample_weight,
            same_class_weight=same_class_weight,
            ignore_label=ignore_label,
            normalize=normalize,
        )
        self.across_processes = across_processes

    @boundary
    def forward(
        self,
        z_views: Annotated[Float[Tensor, "B K D"], AtLeast(K=2, D=1)],
        labels: _Labels | None = None,
        *,
        sample_ids: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """See `supcon_loss`."""
        if self.across_processes:
            z_views, labels, sample_ids = gather_samples(z_views, labels, sample_ids)
        return supcon_loss(z_views, labels, sample_ids=sample_ids, **vars(self.settings))

    def extra_repr(self) -> str:
        """The settings, for the module's repr."""
        return f"{self.settings}, across_processes={self.across_processes}"
