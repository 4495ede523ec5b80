"""Stores of activations, and the K-view batches made of them."""

from .collate import collate_kview
from .convert import Conversion, convert_store
from .dataset import ActivationDataset
from .describe import LayerNorms, LengthBin, StoreSummary, describe_store
from .family import StoreFamily
from .huggingface import CaptureProgress, CaptureSummary, OutOfRange, capture
from .item_source import ItemSource, source_of
from .layout.damage import Damage
from .layout.files import Files
from .logprobs import LogprobBlock
from .native.writer import ActivationWriter
from .parser import ActivationParser, StoreInputs, find_inputs
from .part import Activations, StorePart, Text
from .prompt_keys import prompt_key
from .splits import Splits, SplitStrategy, split_rows
from .store import ActivationStore
from .synthetic import write_synthetic_store
from .verify import verify_store
from .view_sampling import Draw
from .view_settings import ViewOptions

__all__ = [
    "ActivationDataset",
    "ActivationParser",
    "ActivationStore",
    "ActivationWriter",
    "Activations",
    "CaptureProgress",
    "CaptureSummary",
    "Conversion",
    "Damage",
    "Draw",
    "Files",
    "ItemSource",
    "LayerNorms",
    "LengthBin",
    "LogprobBlock",
    "OutOfRange",
    "SplitStrategy",
    "Splits",
    "StoreFamily",
    "StoreInputs",
    "StorePart",
    "StoreSummary",
    "Text",
    "ViewOptions",
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
