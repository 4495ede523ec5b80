"""Typed, checked K-view batches: the ground floor of kview."""

from .axes import AtLeast, Len
from .boundary import boundary
from .contract import Contract
from .embeddings import EmbeddingBatch, EmbeddingRecord, ZViews
from .encoding import ViewEncoder, encoder_keywords
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
from .rule import Rule
from .rules import IGNORE_LABEL
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
