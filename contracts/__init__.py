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
from .protocols import Detector, Encoder, KViewSource
from .rules import IGNORE_LABEL
from .view_encoder import ViewEncoder, encoder_keywords
from .views import FlatViews, KViewBatch, KViewItem, ResponseLogprobs, restore_views

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
    "encoder_keywords",
    "install_checks",
    "restore_views",
]
