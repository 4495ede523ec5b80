"""`HALLULENS_CAPTURE`: the family of HalluLens' captures."""

from ..family import StoreFamily
from ..layout.files import Files
from .config import CONFIG, RESPONSES
from .log import LOG
from .reader import open_capture
from .verify import verify_capture


def is_capture(files: Files) -> bool:
    """Whether there is a configuration with a log or activations beside it."""
    return (files.exists(LOG) or files.exists(RESPONSES)) and files.exists(CONFIG)


HALLULENS_CAPTURE = StoreFamily(
    "hallulens_capture", is_capture, open_capture, verify_capture, keeps_label_files=True
)
