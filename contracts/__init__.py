"""Typed, checked K-view batches: the ground floor of kview."""

from .boundaries import boundary
from .checking.axes import AtLeast, Len
from .checking.rule import Rule
from .contract import Contract
from .embeddings import EmbeddingBatch, EmbeddingRecord, ZViews
from .errors import (
    CheckpointError,
    ConfigError,
    ContractError,
    KViewError,
    LabelError,
    NotFittedError,
    StoreError,
    Violation,
)
from .install import install_checks
from .levels import checks, current_level
from .protocols import Detector, Encoder, ItemDataset, KViewSource, steps_per_epoch
from .rules import IGNORE_LABEL
from .view_encoder import ViewEncoder, device_of, encoder_keywords, eval_mode
from .views import (
    FlatViews,
    KViewBatch,
    KViewItem,
    ResponseLogprobs,
    restore_views,
    sample_ids,
)

__all__ = [
    "IGNORE_LABEL",
    "AtLeast",
    "CheckpointError",
    "ConfigError",
    "Contract",
    "ContractError",
    "Detector",
    "EmbeddingBatch",
    "EmbeddingRecord",
    "Encoder",
    "FlatViews",
    "ItemDataset",
    "KViewBatch",
    "KViewError",
    "KViewItem",
    "KViewSource",
    "LabelError",
    "Len",
    "NotFittedError",
    "ResponseLogprobs",
    "Rule",
    "StoreError",
    "ViewEncoder",
    "Violation",
    "ZViews",
    "boundary",
    "checks",
    "current_level",
    "device_of",
    "encoder_keywords",
    "eval_mode",
    "install_checks",
    "restore_views",
    "sample_ids",
    "steps_per_epoch",
]
