"""What may go wrong with detectors that others wrote: their names, their errors, their scores."""

import logging
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...contracts import ConfigError, Detector, EmbeddingBatch, KViewError
from .scoring import NoMetrics

log = logging.getLogger("kview.eval")

T = TypeVar("T")

_NAME = re.compile(r"[\w.+-]{1,100}")


def require_names(names: Iterable[str]) -> None:
    """Refuses names that cannot stand in a file's name, a column and a page.

    Raises:
        ConfigError: naming the first.

    Examples:
        >>> from kview.eval.detection.foreign import require_names
        >>> require_names(["two_class_knn", "a/b"])
        Traceback (most recent call last):
        kview.contracts.errors.ConfigError: a detector is named 'a/b'; names are letters, ...
    """
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigError(
                f"a detector is named {name!r}; names are letters, digits and any of _ . + - (they "
                "become names of files and columns), 100 at most"
            )


def guarded(name: str, action: Callable[[], T]) -> T | NoMetrics:
    """What an action gives; or the reason, where it raises: the other detectors go on.

    The traceback is logged as `kview.eval` at level debug.
    """
    try:
        return action()
    except Exception as error:
        log.debug("detector %s failed", name, exc_info=True)
        known = isinstance(error, KViewError)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        return NoMetrics(reason=f"the detector failed: {reason}", failed=True)


def scores_of(detector: Detector, rows: EmbeddingBatch) -> NDArray[np.float64]:
    """A detector's scores of some rows, one finite number per row: (n,).

    It does not see the labels of these rows, by which it is measured or chosen.

    Raises:
        ConfigError: they are something else.
    """
    scores = detector.score(rows.replace(halu=None)).detach().cpu().double().numpy()
    if scores.shape != (len(rows),):
        raise ConfigError(f"score() gave {scores.shape} for {len(rows)} rows; give one per row")
    odd = np.flatnonzero(~np.isfinite(scores))
    if len(odd):
        first = int(odd[0]) if rows.hashkey is None else repr(rows.hashkey[odd[0]])
        raise ConfigError(
            f"score() gave NaN or infinity for {len(odd)} of {len(scores)} rows, the first "
            f"{first}; give finite numbers"
        )
    return scores
