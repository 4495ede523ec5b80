"""`evaluate`: one encoder over one source, in one call."""

from collections.abc import Iterable
from typing import cast

import torch

from ..contracts import IGNORE_LABEL, ConfigError, Encoder, KViewBatch, KViewSource, ViewEncoder
from ..contracts.settings import Count, checked
from .evaluator import ContrastiveEvaluator, ContrastiveLoss, EvaluationMetrics
from .manager import EvaluatorManager


def evaluate(
    model: Encoder | ViewEncoder,
    source: KViewSource | Iterable[KViewBatch],
    *,
    batch_size: int,
    loss_fn: ContrastiveLoss,
    device: torch.device | str | None = None,
    sub_batch_size: int | None = None,
    use_labels: bool = True,
    ignore_label: int = IGNORE_LABEL,
    evaluator_manager: EvaluatorManager | None = None,
    max_batches: int | None = None,
) -> EvaluationMetrics:
    """Evaluates an encoder in eval mode over a source, in order, or over any batches.

    Args:
        model: an encoder, or a `ViewEncoder` that knows how to call one.
        source: gives the samples, each once; or the batches themselves.
        batch_size: samples that are contrasted with each other.
        loss_fn: the training loss.
        device: where batches go; None for where the model is.
        sub_batch_size: samples delivered at a time; divides `batch_size`; None for all of them.
        use_labels: whether the loss sees labels.
        ignore_label: the label by which the loss knows unlabelled samples.
        evaluator_manager: also gets all embeddings.
        max_batches: stops after so many contrast sets; None for all.

    Raises:
        ConfigError: a size is not positive, does not divide, or the source was made for layers the
            encoder does not know.
        ContractError: a batch breaks its contract, or there was none.

    Examples:
        >>> import tempfile
        >>> from kview.data import ActivationDataset, ActivationStore, write_synthetic_store
        >>> from kview.eval import evaluate
        >>> from kview.train import supcon_loss
        >>> path = tempfile.mkdtemp() + "/store.zarr"
        >>> _ = write_synthetic_store(path, num_rows=20, num_layers=4, hidden_size=8, max_tokens=3)
        >>> rows = ActivationDataset(ActivationStore.open(path), num_views=2)
        >>> evaluate(lambda x: x.mean(dim=1), rows, batch_size=8, loss_fn=supcon_loss).n_batches
        3
    """
    checked(Count, batch_size=batch_size)
    delivered = checked(Count | None, sub_batch_size=sub_batch_size) or batch_size
    if batch_size % delivered:
        raise ConfigError(
            f"sub_batch_size={sub_batch_size} does not divide batch_size={batch_size}; choose a "
            "divisor, so that contrast sets are whole deliveries"
        )
    evaluator = ContrastiveEvaluator(
        model,
        loss_fn=loss_fn,
        batch_size=batch_size,
        device=device,
        use_labels=use_labels,
        ignore_label=ignore_label,
        layer_ids=getattr(source, "layer_ids", None),
        evaluator_manager=evaluator_manager,
        max_batches=max_batches,
    )
    batches = (
        cast(KViewSource, source).batches(epoch=0, batch_size=delivered, shuffle=False)
        if hasattr(source, "batches")
        else cast(Iterable[KViewBatch], source)
    )
    for batch in batches:
        if sub_batch_size is not None and len(batch) > sub_batch_size:
            raise ConfigError(f"a batch of {len(batch)} came where sub_batch_size={sub_batch_size}")
        evaluator.validation_step(batch)
        if evaluator.done:
            break
    return evaluator.finish()
