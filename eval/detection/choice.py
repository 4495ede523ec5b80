"""The detector to rely on: chosen on validation rows, or said to be unchosen."""

from collections.abc import Mapping
from dataclasses import dataclass

from .held_out import HeldOut

DEFAULT = "knn"
"""The detector where there is nothing to choose by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which detector to rely on, and why.

    Attributes:
        name: of the detector.
        reason: a sentence for people.
        val_auroc: of every detector on the validation rows; empty where there are none to go by.
    """

    name: str
    reason: str
    val_auroc: Mapping[str, float]

    @property
    def validated(self) -> bool:
        """Whether validation rows chose it."""
        return bool(self.val_auroc)


def choose(on_val: Mapping[str, HeldOut | None]) -> Choice:
    """The detector with the highest AUROC on validation rows, the first named of equals.

    Args:
        on_val: scores of labelled validation rows and their labels, by detector; None where a
            detector has none.
    """
    from sklearn.metrics import roc_auc_score

    auroc = {
        name: float(roc_auc_score(held[1], held[0]))
        for name, held in on_val.items()
        if held is not None
    }
    if not auroc:
        name = DEFAULT if DEFAULT in on_val else next(iter(on_val))
        return Choice(
            name=name,
            reason=f"{name} by default: there are no validation rows of both labels to choose by",
            val_auroc={},
        )
    name = max(auroc, key=auroc.__getitem__)
    rows = next(len(held[1]) for held in on_val.values() if held is not None)
    return Choice(
        name=name,
        reason=f"{name} has the highest AUROC on {rows} validation rows, {auroc[name]:.3f}",
        val_auroc=auroc,
    )
