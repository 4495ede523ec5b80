"""Stores of activations, and the K-view batches made of them."""

from .capture import CaptureProgress, CaptureSummary, OutOfRange, capture
from .collate import collate_kview
from .convert import Conversion, convert_store
from .dataset import ActivationDataset
from .labels import prompt_key
from .parser import ActivationParser, StoreInputs, find_inputs
from .part import LogprobBlock, Text
from .sampling import Draw
from .source import ItemSource, source_of
from .splits import Splits, SplitStrategy, split_rows
from .store import ActivationStore
from .summary import LayerNorms, LengthBin, StoreSummary, describe_store
from .synthetic import write_synthetic_store
from .verify import Damage, verify_store
from .writer import ActivationWriter

__all__ = [
    "ActivationDataset",
    "ActivationParser",
    "ActivationStore",
    "ActivationWriter",
    "CaptureProgress",
    "CaptureSummary",
    "Conversion",
    "Damage",
    "Draw",
    "ItemSource",
    "LayerNorms",
    "LengthBin",
    "LogprobBlock",
    "OutOfRange",
    "SplitStrategy",
    "Splits",
    "StoreInputs",
    "StoreSummary",
    "Text",
    "capture",
    "collate_kview",
    "convert_store",
    "describe_store",
    "find_inputs",
    "prompt_key",
    "source_of",
    "split_rows",
    "verify_store",
    "write_synthetic_store",
]
