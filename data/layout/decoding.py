"""What codecs raise at bytes that they cannot decode, as one error."""

import lzma
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from ...contracts import StoreError

_ERRORS = (
    *(ValueError, TypeError, KeyError, IndexError, OverflowError, AssertionError),
    *(RuntimeError, OSError, EOFError, MemoryError, struct.error, zlib.error, lzma.LZMAError),
)
"""Each codec has errors of its own, and damaged bytes can bring any of them out."""


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Inside, bytes are decoded.

    Args:
        what: they are, for the message.

    Raises:
        StoreError: they cannot be.
    """
    try:
        yield
    except StoreError:
        raise
    except _ERRORS as error:
        raise StoreError(f"{what} cannot be decoded ({type(error).__name__}: {error})") from error
