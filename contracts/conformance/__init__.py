"""Ready checks for one's own encoder and one's own dataset, to be called from a test.

Each raises one `ContractError` that lists everything it found.
"""

from .dataset import check_dataset
from .encoder import check_encoder

__all__ = ["check_dataset", "check_encoder"]
