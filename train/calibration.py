"""Statistics of the training rows for an encoder that standardises by them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Protocol, runtime_checkable

from ..contracts import KViewBatch, KViewSource
from .config import ContrastiveTrainerConfig
from .encoders.layer_statistics import LayerStatistics

_VIEWS_PER_LAYER = 1000
"""Views of a layer after which more would not change its mean by a thirtieth of a deviation."""

_FEWEST = 20
"""Views of a layer, on average, below which one may be missed by chance."""


@runtime_checkable
class Calibrated(Protocol):
    """An encoder that is shown training data once, before its first step."""

    def calibrate(
        self,
        batches: Iterable[KViewBatch],
        *,
        max_batches: int | None = None,
        layer_ids: Sequence[int] | None = None,
    ) -> LayerStatistics:
        """Takes the statistics of some batches.

        Args:
            batches: batches of training data, each read once.
            max_batches: stop after so many.
            layer_ids: the model's layer ids at the positions that `view_indices` name; None where
                the batches do not say which layer a view is of.
        """
        ...


def calibrate(
    encoder: Calibrated, source: KViewSource, config: ContrastiveTrainerConfig
) -> LayerStatistics:
    """Calibrates an encoder on the training rows; on every process alike.

    The batches are those of the first epoch and, until each layer has had 1,000 views or every row
    has had time to show all of its layers, of the epochs after it.
    """
    batches = _batches(source, config)
    first = list(islice(batches, 1))
    told_apart = bool(first) and first[0].view_indices is not None
    return encoder.calibrate(
        chain(first, batches),
        max_batches=config.calibration_batches,
        layer_ids=source.layer_ids if told_apart else None,
    )


def calibration_epochs(num_rows: int, num_views: int, num_layers: int) -> int:
    """The passes over the rows that calibration takes."""
    per_epoch = num_rows * num_views / num_layers  # views of a layer
    enough = math.ceil(_VIEWS_PER_LAYER / per_epoch)
    whole = max(math.ceil(num_layers / num_views), math.ceil(_FEWEST / per_epoch))
    return min(enough, whole)


def _batches(source: KViewSource, config: ContrastiveTrainerConfig) -> Iterator[KViewBatch]:
    for epoch in range(calibration_epochs(len(source), source.num_views, len(source.layer_ids))):
        yield from source.batches(
            epoch=epoch, batch_size=config.batch_size, num_workers=config.num_workers
        )
