"""Peak memory and time of an evaluation, each in a fresh process.

    python benchmarks/evaluation.py [small | large]

`large` is the size of a language model's store: 10,000 rows of 33 layers and 4096 units, one token.
Mean activations lie in temporary files meanwhile, 4.3 GB in TMPDIR, and it takes some minutes on
two cores. `small` is 1000 rows of 31 layers and 576 units. Run it on Linux; it prints a JSON line
per row.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from kview.contracts import KViewBatch
from kview.eval import evaluate_detection
from kview.train import ProgressiveCompressor
from process_memory import in_a_fresh_process, resident, restart_peak
from rows import show

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
D = 128


@dataclass(frozen=True)
class Size:
    """Of a store, and what an evaluation of it is to stay below."""

    rows: int
    layers: int
    hidden: int
    gib: float
    seconds: float | None


SIZES = {
    "small": Size(rows=1000, layers=31, hidden=576, gib=1, seconds=60),
    "large": Size(rows=10_000, layers=33, hidden=4096, gib=3, seconds=None),
}


class MadeRows:
    """Rows that are drawn when they are read, float16: what is held is the evaluation's alone."""

    views_repeat = False
    fingerprint = "made"

    def __init__(self, size: Size, name: str) -> None:
        self.size, self.name = size, name
        self.num_views = size.layers
        self.layer_ids = tuple(range(size.layers))
        n = round(size.rows * SHARES[name])
        self.hashkeys = [f"{name} {row}" for row in range(n)]
        self.labels = (np.arange(n) % 2).astype(np.int8)
        self.response_lengths = np.ones(n, np.int32)

    def __len__(self) -> int:
        return len(self.hashkeys)

    def batches(self, *, batch_size: int, **_: object) -> Iterator[KViewBatch]:
        """In order; hallucinated rows are shifted a little."""
        random = torch.Generator().manual_seed(len(self))
        shift = torch.randn(self.size.hidden, generator=random) / 30
        for start in range(0, len(self), batch_size):
            labels = torch.from_numpy(self.labels[start : start + batch_size]).float()
            shape = (len(labels), self.size.layers, 1, self.size.hidden)
            x = torch.randn(shape, generator=random).add_(labels.view(-1, 1, 1, 1) * shift)
            yield KViewBatch(
                hashkey=self.hashkeys[start : start + batch_size],
                halu=labels,
                views_activations=x.half(),
                view_indices=torch.arange(self.size.layers).repeat(len(labels), 1),
                input_length=torch.ones(len(labels), dtype=torch.long),
            )


def evaluate(size: Size) -> None:
    """An evaluation of an untrained encoder with every detector and baseline."""
    train, val, test = (MadeRows(size, name) for name in ("train", "val", "test"))
    evaluate_detection(ProgressiveCompressor(size.hidden, D), train=train, val=val, test=test)


def measure(name: str) -> tuple[int, float]:
    """Bytes at the peak, above the imports, and seconds."""
    evaluate(Size(rows=200, layers=3, hidden=8, gib=1, seconds=None))  # imports what one imports
    restart_peak()
    before, start = resident("VmRSS"), time.perf_counter()
    evaluate(SIZES[name])
    return resident("VmHWM") - before, time.perf_counter() - start


def main(names: list[str]) -> int:
    """Prints the rows; 1 where one falls short."""
    met = []
    for name in names:
        size = SIZES[name]
        memory, seconds = in_a_fresh_process(__file__, name, "here").split()
        shape = f"N={size.rows} L={size.layers} H={size.hidden} T=1"
        met += [
            show(
                "peak memory of an evaluation",
                size=shape,
                unit="GiB",
                ours=[int(memory) / 2**30],
                compare="itself",
                reach=size.gib,
            ),
            show(
                "an evaluation with every baseline",
                size=shape,
                unit="s",
                ours=[float(seconds)],
                compare="itself",
                reach=size.seconds,
            ),
        ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    if sys.argv[2:] == ["here"]:
        print(*measure(sys.argv[1]))
    else:
        sys.exit(main(sys.argv[1:] or ["small"]))
