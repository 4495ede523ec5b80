"""`ARRAYS`: the family of plain arrays."""

from ..family import StoreFamily
from .reader import is_array, open_array
from .verify import verify_array

ARRAYS = StoreFamily("array", is_array, open_array, verify_array)
