"""Early stopping and the best epoch: which metric says how good an epoch is."""

from ..contracts import ConfigError, KViewSource
from .config import ContrastiveTrainerConfig, Monitor
from .results import EpochMetrics


def monitored(config: ContrastiveTrainerConfig, val_source: KViewSource | None) -> Monitor | None:
    """The metric that chooses the best epoch; None where the last one is as good as any.

    Raises:
        ConfigError: it needs a val source that is not there, or patience has nothing to look at.
    """
    monitor = config.monitor or ("val_loss" if val_source is not None else None)
    if monitor is not None and monitor.startswith("val_") and val_source is None:
        raise ConfigError(f"monitor={monitor} needs a val_source; pass one, or monitor train_loss")
    if config.early_stopping_patience is not None and monitor is None:
        raise ConfigError(
            "early_stopping_patience has no effect without a val_source or monitor='train_loss'"
        )
    return monitor


def exports_best(config: ContrastiveTrainerConfig) -> bool:
    """Whether the exported weights are the best epoch's, and not the last one's.

    They are where a metric was named or training stops early. Left alone, the last epoch's tell
    hallucinations apart better than those of the lowest val_loss, which comes while distances in
    the embedding still say little (docs/training.md has the figures).
    """
    return config.monitor is not None or config.early_stopping_patience is not None


def badness(metrics: EpochMetrics, monitor: Monitor) -> float:
    """The monitored metric, negated where more is better.

    Raises:
        ConfigError: the epoch has no such value.
    """
    value = getattr(metrics, monitor)
    if value is None:
        raise ConfigError(
            f"monitor={monitor} has no value in epoch {metrics.epoch}: its set has a single "
            "sample; monitor another metric"
        )
    return value if monitor.endswith("_loss") else -value


def out_of_patience(config: ContrastiveTrainerConfig, epochs_done: int, best_epoch: int) -> bool:
    """Whether the monitored metric has not improved for `early_stopping_patience` epochs.

    Args:
        config: the settings.
        epochs_done: epochs behind.
        best_epoch: the best of them, from 0; -1 before the first.
    """
    patience = config.early_stopping_patience
    return patience is not None and epochs_done - 1 - best_epoch >= patience
