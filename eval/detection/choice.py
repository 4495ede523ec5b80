"""The detector to rely on, and the baseline to beat: chosen on validation rows, or unchosen."""

from collections.abc import Mapping
from dataclasses import dataclass

from .held_out import HeldOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which of several scorers was chosen, and why.

    Attributes:
        name: of the scorer.
        reason: a sentence for people.
        val_auroc: of every scorer on the validation rows; empty where there are none to go by.
    """

    name: str
    reason: str
    val_auroc: Mapping[str, float]

    @property
    def validated(self) -> bool:
        """Whether validation rows chose it."""
        return bool(self.val_auroc)


def choose(on_val: Mapping[str, HeldOut | None], default: str) -> Choice:
    """The scorer with the highest AUROC on validation rows, the first named of equals.

    Args:
        on_val: scores of labelled validation rows and their labels, by scorer; None where a scorer
            has none. One scorer at least.
        default: the scorer where there is nothing to choose by; the first where it is missing.
    """
    from sklearn.metrics import roc_auc_score

    auroc = {
        name: float(roc_auc_score(held[1], held[0]))
        for name, held in on_val.items()
        if held is not None
    }
    if not auroc:
        name = default if default in on_val else next(iter(on_val))
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
