"""What rows say, field by field, as numbers: rows with one number have one text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .store import ActivationStore

Numbers = NDArray[np.int64]
"""(n,) a number per row, equal where the texts are; -1 where there is no text."""


def numbered(texts: Iterable[object]) -> Numbers:
    """The number of each text, in the order in which texts first come; an empty one is none."""
    known: dict[str, int] = {}
    return np.array(
        [
            known.setdefault(text, len(known)) if isinstance(text, str) and text else -1
            for text in texts
        ],
        np.int64,
    )


def line_fields(lines: Sequence[Mapping[str, Any]]) -> dict[str, Numbers]:
    """The fields of JSON lines that hold a text in some of them."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    found = {name: numbered(line.get(name) for line in lines) for name in names}
    return {name: numbers for name, numbers in found.items() if (numbers >= 0).any()}


def prompt_field(store: ActivationStore) -> dict[str, Numbers]:
    """The prompts of a store's rows as the field `prompt`; no field where it has none."""
    texts = store.texts()
    if not texts:
        return {}
    prompts = (texts[key].prompt if key in texts else None for key in store.hashkeys)
    return {"prompt": numbered(prompts)}


def rows_shared(numbers: Numbers, rows: NDArray[np.intp], others: NDArray[np.intp]) -> int:
    """How many of some rows have a text that one of the others has, too."""
    texts = numbers[rows]
    return int((np.isin(texts, numbers[others]) & (texts >= 0)).sum())
