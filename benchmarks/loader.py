"""K-view batches from stores, against a numpy memmap and against zarr-python.

    python benchmarks/loader.py [--folder DIR] [--rows 192] [--rounds 7]

Prints a JSON line per row, of rounds that take turns; exits 1 where one is short. The files are in
the page cache; run it with nothing else on the machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import zarr
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from kview.contracts import KViewItem
from kview.data import ActivationDataset, ActivationStore, ActivationWriter, collate_kview
from kview.data.layout.columns import encode_strings
from kview.data.native.arrays import COLUMN_TYPES
from kview.data.native.folder import Folder
from kview.data.native.row import checksum
from kview.data.native.schema import NativeSchema
from kview.data.native.shard_file import shard_index
from process_memory import resident
from rows import show

B, K, L, T, H = 32, 4, 16, 64, 2048
EPOCH_BATCH = 32
MILLION = 1_000_000


def write(folder: Path, rows: int) -> tuple[Path, Path, np.ndarray]:
    """The same activations as a native store, and as a capture, whose array numpy maps."""
    rng = np.random.default_rng(0)
    path, capture = folder / "a.zarr", folder / "capture"
    file, shape = write_capture(capture, rows), (rows, L, T, H)
    plain = np.memmap(file, np.float16, "w+", shape=shape)
    with ActivationWriter.create(
        path, layers=range(L), hidden_size=H, max_tokens=T, model="m", durable=False
    ) as writer:
        for row in range(rows):
            plain[row] = rng.standard_normal((L, T, H), np.float32)
            writer.append(
                plain[row], token_count=T, input_length=1, hashkey=f"row {row}", halu=row % 2
            )
    plain.flush()
    return path, capture, np.memmap(file, np.float16, "r", shape=shape)


def write_capture(path: Path, rows: int) -> Path:
    """A HalluLens capture without its activations; gives the file where they belong."""
    path.mkdir()
    sizes = {"n_samples": rows, "num_layers": L - 1, "hidden_dim": H, "max_response_len": T}
    nothing = dict.fromkeys(("r_max", "max_prompt_len", "response_logprobs_top_k"), 0)
    names = {"storage_format": "inference_capture_v1", "model_name": "m", "dtype": "float16"}
    (path / "config.json").write_text(json.dumps({**sizes, **nothing, **names}))
    lengths = {"prompt_len": 1, "response_len": T}
    for name, length in lengths.items():
        np.full(rows, length, "i4").tofile(path / f"{name}.npy")
    with (path / "meta.jsonl").open("w") as log:
        for row in range(rows):
            said = {"sample_index": row, "prompt_hash": f"{row:064x}", "hallucinated": False}
            log.write(json.dumps({**said, **lengths}) + "\n")
    return path / "response_activations.npy"


def draws(rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless rows and layers to read."""
    rng = np.random.default_rng(1)
    while True:
        layers = np.argsort(rng.random((B, L)), axis=1)[:, :K]
        yield rng.choice(rows, B, replace=False), layers


def by_turns(rounds: int, **actions: Callable[[], object]) -> dict[str, list[float]]:
    """Milliseconds of each action, after a turn to warm up."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if turn:
                times[name].append((time.perf_counter() - start) * 1e3)
    return times


def bench_batches(path: Path, capture: Path, plain: np.ndarray, rounds: int) -> bool:
    """One batch, (B, K, T, H), 20 to a turn; zarr-python reads 2 to a turn."""
    store, captured = ActivationStore.open(path), ActivationStore.open(capture)
    array = zarr.open_array(path / "activations", mode="r")
    wanted = draws(len(store))
    every, layers = np.arange(len(store)), np.tile(np.arange(L), (len(store), 1))
    for row in every.tolist():  # every chunk's checksum is compared once, when it is first read
        store.read([row], layers[row][None])

    def ours() -> None:
        for _ in range(20):
            store.read(*next(wanted))

    def from_capture() -> None:
        for _ in range(20):
            captured.read(*next(wanted))

    def memmap() -> None:
        for _ in range(20):
            rows, places = next(wanted)
            plain[rows[:, None], places]

    def chunk_by_chunk() -> None:
        for _ in range(2):
            rows, places = next(wanted)
            np.stack(
                [
                    np.stack([np.asarray(array[row, place]) for place in at])
                    for row, at in zip(rows.tolist(), places.tolist(), strict=True)
                ]
            )

    def first_touch() -> None:
        fresh = ActivationStore.open(path)
        for _ in range(20):
            fresh.read(*next(wanted))

    found = by_turns(
        rounds,
        memmap=memmap,
        ours=ours,
        capture=from_capture,
        zarr=chunk_by_chunk,
        first=first_touch,
    )
    batches = {"zarr": 2}
    ms = {name: [t / batches.get(name, 20) for t in times] for name, times in found.items()}
    met = True
    for what, ours_, against, theirs, reach in (
        ("batch from a native store", "ours", "numpy memmap gather", "memmap", 0.9),
        ("batch from a native store", "ours", "zarr-python chunk by chunk", "zarr", 10),
        ("batch from a HalluLens capture", "capture", "numpy memmap gather", "memmap", 0.9),
        ("the same, checksums compared", "first", "numpy memmap gather", "memmap", None),
    ):
        met &= show(
            what,
            size=f"B={B} K={K} T={T} H={H}",
            against=against,
            unit="ms",
            ours=ms[ours_],
            theirs=ms[theirs],
            reach=reach,
        )
    return met


class ZarrItems(Dataset[KViewItem]):
    """One item at a time through zarr-python, as a plain dataset would read."""

    def __init__(self, path: Path, rows: int) -> None:
        self.path = path
        self.rows = rows
        self.array = None

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> KViewItem:
        if self.array is None:  # zarr-python's thread does not survive a fork: open it after
            self.array = zarr.open_array(self.path / "activations", mode="r")
        views = np.random.default_rng(index).permutation(L)[:K]
        x = np.stack([np.asarray(self.array[index, view]) for view in views.tolist()])
        return KViewItem(
            hashkey=f"row {index}",
            halu=torch.tensor(float(index % 2)),
            views_activations=torch.from_numpy(x),
            view_indices=torch.from_numpy(views),
            input_length=1,
        )


def bench_epochs(path: Path, rounds: int) -> bool:
    """A whole epoch of every row eight times, with two workers and in the process itself."""
    met = True
    store = ActivationStore.open(path)
    dataset = ActivationDataset(store, np.tile(np.arange(len(store)), 8), num_views=K)
    for workers in (2, 0):
        every = ConcatDataset([ZarrItems(path, len(store))] * 8)

        def ours(workers: int = workers) -> None:
            for _ in dataset.batches(epoch=0, batch_size=EPOCH_BATCH, num_workers=workers):
                pass

        def theirs(workers: int = workers, every: Dataset[KViewItem] = every) -> None:
            for _ in DataLoader(
                every,
                batch_size=EPOCH_BATCH,
                shuffle=True,
                collate_fn=collate_kview,
                num_workers=workers,
            ):
                pass

        found = by_turns(max(2, rounds // 3), theirs=theirs, ours=ours)
        met &= show(
            f"DataLoader epoch, {workers} workers",
            size=f"{len(dataset)} rows, K={K} T={T} H={H}",
            against="one-item-at-a-time zarr dataset",
            unit="ms",
            ours=found["ours"],
            theirs=found["theirs"],
            reach=10,
        )
    return met


def peak_of_reading(path: Path) -> bool:
    """Peak memory of reading one large batch, above what the process had before."""
    store = ActivationStore.open(path)
    rows, layers = np.arange(128), np.tile(np.arange(4), (128, 1))
    store.read(rows[:1], layers[:1])
    before = resident("VmHWM")
    batch = store.read(rows, layers)
    return show(
        "peak memory of reading a batch",
        size=f"B={len(rows)} K=4 T={T} H={H}",
        against="the batch",
        unit="MB",
        ours=[(resident("VmHWM") - before) / 1e6],
        theirs=[batch.nbytes / 1e6],
        compare="times as much",
        reach=1.1,
    )


def write_million(path: Path) -> None:
    """A store of a million rows whose activations are holes: all else is written for real."""
    rows, at_a_time = MILLION, 4096
    schema = NativeSchema(
        model="m",
        layers=tuple(range(33)),
        hidden_size=4096,
        max_tokens=64,
        dtype="float16",
        shard_rows=16,
        column_rows=at_a_time,
        rows=rows,
        index_location="start",
    )
    folder = Folder(path, durable=False)
    path.mkdir()
    for number, start in enumerate(range(0, rows, at_a_time)):
        for name in schema.columns:
            if COLUMN_TYPES[name].kind == "O":
                keys = [f"{row:064x}" for row in range(start, start + at_a_time)]
                data = encode_strings(keys, at_a_time)
            else:
                value = 64 if name in ("token_count", "response_length") else 1
                data = np.full(at_a_time, value, COLUMN_TYPES[name]).tobytes()
            folder.replace(f"{name}/c.{number}", data + checksum(data))
    for name in schema.columns:
        folder.replace(f"{name}/zarr.json", schema.table_json(name, rows))
    folder.replace("activations/zarr.json", schema.activations_json(rows))
    index = shard_index(schema, schema.shard_rows).tobytes()
    for number in range(100):
        with (path / schema.shard_key(number)).open("wb") as file:
            file.write(index)
            file.truncate(len(index) + schema.shard_rows * schema.row_bytes)
    folder.replace("zarr.json", schema.group_json())


def open_million(path: Path) -> bool:
    """Seconds and memory to open a store of a million rows, beyond the imports."""
    before = resident("VmHWM")
    start = time.perf_counter()
    dataset = ActivationDataset(ActivationStore.open(path), num_views=4)
    seconds = time.perf_counter() - start
    size = f"{len(dataset)} rows"
    return all(
        [
            show("open a store", size=size, unit="s", ours=[seconds], compare="itself", reach=2),
            show(
                "memory of an open store",
                size=size,
                unit="MB",
                ours=[(resident("VmHWM") - before) / 1e6],
                compare="itself",
                reach=300,
            ),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary one by default")
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=["peak", "million", "epochs"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    only: dict[str, Callable[[], bool]] = {
        "peak": lambda: peak_of_reading(arguments.folder),
        "million": lambda: open_million(arguments.folder),
        "epochs": lambda: bench_epochs(arguments.folder, arguments.rounds),
    }
    if arguments.only:
        return 0 if only[arguments.only]() else 1
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        path, capture, plain = write(folder, arguments.rows)
        met = bench_batches(path, capture, plain, arguments.rounds)
        million = folder / "million.zarr"
        write_million(million)
        for part, store in (("epochs", path), ("peak", path), ("million", million)):
            fresh = [sys.executable, __file__, "--only", part, "--folder", str(store)]
            met &= subprocess.run(fresh).returncode == 0
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
