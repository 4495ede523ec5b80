"""A progress bar for training, on stderr."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from .results import EpochMetrics, StepOutput


class Progress:
    """Shows the epoch under way and a line for every epoch done; silent when not shown."""

    def __init__(self, shown: bool) -> None:
        self._console = Console(stderr=True, quiet=not shown)
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[rate]} samples/s"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not (shown and self._console.is_terminal),
            transient=True,
        )
        self._task = self._bars.add_task("", visible=False, loss="-", rate="-")
        self._samples = 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        """A new epoch begins, with `done` of its steps already behind."""
        self._samples = 0
        self._bars.reset(
            self._task,
            total=steps,
            completed=done,
            visible=True,
            description=f"epoch {epoch + 1}/{epochs}",
        )

    def step(self, output: StepOutput) -> None:
        """A step is done."""
        self._samples += output.num_samples
        elapsed = self._bars.tasks[0].elapsed
        rate = f"{self._samples / elapsed:.0f}" if elapsed else "-"
        self._bars.update(
            self._task, advance=1, loss=f"{float(output.loss.detach()):.4f}", rate=rate
        )

    def epoch_done(self, metrics: EpochMetrics) -> None:
        """An epoch is done."""
        shown = {
            "loss": metrics.train_loss,
            "intra cos": metrics.train_intra_cos,
            "margin": metrics.train_intra_inter_margin,
            "val loss": metrics.val_loss,
            "val margin": metrics.val_intra_inter_margin,
        }
        text = "  ".join(
            f"{name} {value:.4f}" for name, value in shown.items() if value is not None
        )
        self._console.print(f"epoch {metrics.epoch + 1:>3}  {text}", highlight=False)
