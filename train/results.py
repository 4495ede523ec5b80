"""What training gives: a step's output, the sums behind an epoch, its line, and a fit's result."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..contracts import Contract


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StepOutput(Contract):
    """What a training step gives.

    Attributes:
        loss: the loss of the batch, over all processes; `backward` goes through it.
        metrics: `intra_cos` and, for two samples or more, `intra_inter_margin`, over all processes.
        num_samples: samples in the batch, over all processes.
    """

    loss: Float[Tensor, ""]
    metrics: dict[str, float]
    num_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochMetrics:
    """One line of metrics.jsonl.

    Attributes:
        epoch: from 0.
        lr: learning rate of the epoch's last step.
        train_loss: mean over the epoch's steps, weighted by samples.
        train_intra_cos: likewise, of the mean cosine of the views of a sample.
        train_intra_inter_margin: likewise, of its margin over other samples; None if no step had
            two samples.
        val_loss: on the whole val set after the epoch; None without one.
        val_intra_cos: likewise.
        val_intra_inter_margin: likewise.
    """

    epoch: int
    lr: float
    train_loss: float
    train_intra_cos: float
    train_intra_inter_margin: float | None
    val_loss: float | None = None
    val_intra_cos: float | None = None
    val_intra_inter_margin: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """What a fit gives.

    Attributes:
        history: the metrics of every epoch; those before a resume too, where the run has a folder.
        best_epoch: the epoch that `monitor` chose, or the last one.
        stopped_early: whether patience ran out before `max_epochs`.
    """

    history: tuple[EpochMetrics, ...]
    best_epoch: int
    stopped_early: bool


@dataclass(slots=True)
class RunningSums:
    """Sums over an epoch's steps, for means weighted by samples."""

    samples: int = 0
    loss: float = 0.0
    intra_cos: float = 0.0
    margin: float = 0.0
    margin_samples: int = 0

    def add(self, output: StepOutput) -> None:
        """Adds one step."""
        n = output.num_samples
        self.samples += n
        self.loss += n * float(output.loss.detach())
        self.intra_cos += n * output.metrics["intra_cos"]
        if "intra_inter_margin" in output.metrics:
            self.margin += n * output.metrics["intra_inter_margin"]
            self.margin_samples += n

    def metrics(self, epoch: int, lr: float) -> EpochMetrics:
        """The epoch's metrics on the training rows."""
        return EpochMetrics(
            epoch=epoch,
            lr=lr,
            train_loss=self.loss / self.samples,
            train_intra_cos=self.intra_cos / self.samples,
            train_intra_inter_margin=(
                self.margin / self.margin_samples if self.margin_samples else None
            ),
        )
