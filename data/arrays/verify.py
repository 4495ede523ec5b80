"""Finds all damage to a plain array."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...contracts import StoreError
from ..layout.damage import Damage, Progress, verify_activations
from ..layout.files import Files
from .reader import open_parts
from .rows import rows_file
from .tensor_files import checksum_problem


def verify_array(files: Files, tell: Progress) -> Iterator[Damage]:
    """All damage to an array; arguments as in `open_array`, and whom to tell of progress."""
    try:
        array, rows, _ = open_parts(files)
    except StoreError as error:
        yield Damage(files.name, None, None, str(error))
        return
    problem = checksum_problem(Path(files.name))
    if problem is not None:
        yield Damage(array.key, None, None, problem)
    counts = Counter(row.hashkey for row in rows)
    for number, row in enumerate(rows):
        if counts[row.hashkey] > 1:
            problem = f"hashkey {row.hashkey!r} stands {counts[row.hashkey]} times"
            yield Damage(rows_file(array.key), number, None, problem)
    real = np.array([row.token_count for row in rows], np.int64)
    yield from verify_activations(array, np.arange(len(rows)), real, tell)
