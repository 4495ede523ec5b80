"""A store from arrays of your own: written row by row, read back as K-view batches.

python examples/own_arrays.py
"""

from tempfile import TemporaryDirectory

import numpy as np

from kview.data import ActivationDataset, ActivationStore, ActivationWriter, verify_store

LAYERS, MAX_TOKENS, HIDDEN = [4, 8, 12, 16, 20], 16, 64


def main() -> None:
    """Writes 40 answers of unequal length, and reads an epoch."""
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        path = f"{folder}/mine.zarr"
        with ActivationWriter.create(
            path, layers=LAYERS, hidden_size=HIDDEN, max_tokens=MAX_TOKENS, model="my model"
        ) as writer:
            for row in range(40):
                tokens = int(rng.integers(3, 30))
                writer.append(
                    rng.normal(size=(len(LAYERS), tokens, HIDDEN)),  # (L, T', H), cut to T
                    token_count=tokens,
                    input_length=20,
                    hashkey=f"answer {row}",
                    halu=row % 2,  # 1 hallucinated, 0 not, -1 unlabelled
                    group=f"question {row // 2}",  # never split apart
                )

        assert verify_store(path) == []  # every checksum compared
        with ActivationStore.open(path) as store:
            print(f"{len(store)} rows, layers {store.layer_ids}, H={store.hidden_size}")
            dataset = ActivationDataset(store, num_views=4)
            for batch in dataset.batches(epoch=0, batch_size=16):
                print(batch)


if __name__ == "__main__":
    main()
