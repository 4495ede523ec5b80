"""A family of stores of your own: a folder with `answers.json` and `activations.npy`.

python examples/own_family.py

Once a package says in its pyproject.toml

    [project.entry-points."kview.stores"]
    answers = "own_family:ANSWERS"

and is installed, `ActivationStore.open` and every command take such folders.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from kview.contracts import StoreError
from kview.data import ActivationDataset, ActivationStore, Damage, Files, StoreFamily, StorePart
from kview.data.layout.files import LocalFiles


class Mapped:
    """The activations, (N, L, T, H), mapped into memory; all rows have all layers."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.array = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        self.shape = self.array.shape
        self.dtype = self.array.dtype

    def __reduce__(self) -> tuple[type["Mapped"], tuple[str]]:
        return Mapped, (self.path,)

    def read(
        self, rows: np.ndarray, layers: np.ndarray, tokens: np.ndarray, out: np.ndarray
    ) -> None:
        """Reads layers (B, K) of rows (B,) into (B, K, T', H), zeros behind `tokens` (B,)."""
        for b, (row, count) in enumerate(zip(rows, tokens, strict=True)):
            out[b, :, :count] = self.array[row, layers[b], :count]
            out[b, :, count:] = 0

    def stored(self, rows: np.ndarray, layers: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """(B, K) all true."""
        return np.ones(layers.shape, bool)

    def close(self) -> None:
        """Nothing is open but the map."""


def is_answers(files: Files) -> bool:
    """Whether a folder is such a store."""
    return files.exists("answers.json")


def open_answers(files: Files) -> StorePart:
    """Opens one."""
    said = json.loads(files.get("answers.json") or b"{}")
    counts = np.array(said["tokens"], np.int32)
    activations = Mapped(str(Path(files.name, "activations.npy")))
    if len(counts) != len(activations.array):
        raise StoreError(
            f"{files.name}: answers.json has {len(counts)} rows and activations.npy "
            f"{len(activations.array)}"
        )
    return StorePart(
        files=files,
        schema="answers",
        model=said["model"],
        layer_ids=tuple(said["layers"]),
        activations=activations,
        rows=np.arange(len(counts)),
        token_counts=counts,
        response_lengths=counts,
        input_lengths=np.ones(len(counts), np.int32),
        halu=np.array(said["halu"], np.int8),
        dropped=0,
        allocated=len(counts),
        load_hashkeys=partial(list, said["keys"]),
    )


def verify_answers(files: Files, progress: object) -> Iterator[Damage]:
    """What cannot be opened, and values that are not finite."""
    try:
        array = open_answers(files).activations
    except StoreError as error:
        yield Damage("activations.npy", None, None, str(error))
        return
    block = np.empty((1, array.shape[1], *array.shape[2:]), array.dtype)
    for row in range(array.shape[0]):
        every = np.arange(array.shape[1])[None]
        array.read(np.array([row]), every, np.array([array.shape[2]]), block)
        if not np.isfinite(block).all():
            yield Damage("activations.npy", row, None, "not finite")


ANSWERS = StoreFamily("answers", is_answers, open_answers, verify_answers)


def write_answers(folder: Path, activations: np.ndarray, halu: list[int]) -> None:
    """Writes one, of (N, L, T, H) activations."""
    N, L, T, _ = activations.shape
    keys = [f"answer {row}" for row in range(N)]
    said = {"model": "mine", "layers": list(range(L)), "tokens": [T] * N, "halu": halu}
    folder.mkdir()
    np.save(folder / "activations.npy", activations)
    (folder / "answers.json").write_text(json.dumps({**said, "keys": keys}))


def main() -> None:
    """Writes a store and reads K-view batches from it."""
    with TemporaryDirectory() as name:
        folder = Path(name, "store")
        x = np.random.default_rng(0).standard_normal((8, 5, 3, 16)).astype(np.float16)
        write_answers(folder, x, halu=[0, 1] * 4)
        store = ActivationStore([ANSWERS.open(LocalFiles(folder))])
        batch = next(ActivationDataset(store, num_views=4).batches(epoch=0, batch_size=8))
        print(f"{len(batch)} answers at {batch.views_activations.shape[1]} of 5 layers")


if __name__ == "__main__":
    main()
