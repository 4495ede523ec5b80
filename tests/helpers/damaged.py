"""What is read of a store that may be damaged, or the sentence by which it is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from kview.contracts import StoreError
from kview.data import ActivationStore


def read_all(path: Path) -> list[tuple[str, bytes, int]]:
    """The key, the values and the label of each row; all else that is there is read, too."""
    with ActivationStore.open(path) as store:
        _ = store.texts(), store.groups, store.fingerprint
        if store.logprobs_top_k is not None:
            store.logprobs(range(len(store)))
        every = np.arange(store.num_layers)[None]
        rows = [store.read([row], every)[0].tobytes() for row in range(len(store))]
        return list(zip(store.hashkeys, rows, store.halu.tolist(), strict=True))


def refusal(action: Callable[[], object]) -> str:
    """The sentence by which a store is refused; "" where it is not."""
    try:
        action()
    except StoreError as error:
        return str(error)
    return ""
