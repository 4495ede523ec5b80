"""Appending rows to a native store, against a plain write of the same bytes and zarr-python.

Then what committing row by row hands to the system, and how such a store is read.

    python benchmarks/writer.py [--folder DIR] [--rows 128] [--rounds 5]

Prints a JSON line per row, of rounds that take turns; exits 1 where one is short. Waiting for the
disk or not, both sides do the same.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr
import zarr.codecs

from kview.data import ActivationStore, ActivationWriter
from rows import show

L, T, H = 16, 64, 2048
SHARD_ROWS = 64


def plain(path: Path, rows: np.ndarray, count: int, durable: bool) -> None:
    """The same bytes into one file per shard."""
    path.mkdir()
    for start in range(0, count, SHARD_ROWS):
        with (path / str(start)).open("wb", buffering=0) as file:
            for row in range(start, min(start + SHARD_ROWS, count)):
                file.write(rows[row % len(rows)])
            if durable:
                os.fsync(file.fileno())


def ours(path: Path, rows: np.ndarray, count: int, durable: bool) -> None:
    with ActivationWriter.create(
        path,
        layers=range(L),
        hidden_size=H,
        max_tokens=T,
        model="m",
        shard_rows=SHARD_ROWS,
        durable=durable,
    ) as writer:
        for row in range(count):
            writer.append(
                rows[row % len(rows)], token_count=T, input_length=1, hashkey=f"row {row}"
            )


def row_by_row(path: Path, rows: np.ndarray, count: int) -> float:
    """Commits every row on its own; the bytes handed to the system."""
    before = handed_over()
    with ActivationWriter.create(
        path,
        layers=range(rows.shape[1]),
        hidden_size=rows.shape[3],
        max_tokens=rows.shape[2],
        model="m",
        durable=False,
    ) as writer:
        for row in range(count):
            writer.append(
                rows[row % len(rows)],
                token_count=rows.shape[2],
                input_length=1,
                hashkey=f"{row:064x}",
                group=f"group {row // 2}",
            )
            writer.commit()
    return handed_over() - before


def handed_over() -> int:
    """Bytes that this process has handed to the system to write (Linux)."""
    return int(Path("/proc/self/io").read_text().partition("wchar: ")[2].split()[0])


def bench_commits(folder: Path, rows: np.ndarray, count: int, rounds: int) -> bool:
    """The bytes of commits of small rows and of large ones, and reading the large ones."""
    small = np.ascontiguousarray(np.tile(rows, (1, 3, 1, 1))[:, :33, :12, :128])
    met = True
    for name, block, number in (("small", small, 4 * count), ("large", rows, count)):
        written = row_by_row(folder / name, block, number)
        met &= show(
            "bytes written, a commit per row",
            size=f"{number} rows of {block[0].nbytes / 2**10:.0f} KiB",
            against="the rows",
            unit="MB",
            ours=[written / 1e6],
            theirs=[number * block[0].nbytes / 1e6],
            compare="times as much",
            reach=2,
        )
    store = ActivationStore.open(folder / "large")
    plain = np.lib.format.open_memmap(folder / "a.npy", "w+", np.float16, (count, L, T, H))
    for row in range(count):
        plain[row] = rows[row % len(rows)]
        store.read([row], np.arange(L)[None])  # a checksum is compared when a chunk is first read
    plain = np.load(folder / "a.npy", mmap_mode="r")
    rng = np.random.default_rng(1)
    times: dict[str, list[float]] = {"memmap": [], "kview": []}
    for turn in range(rounds + 1):
        wanted = [
            (rng.choice(count, 32), np.argsort(rng.random((32, L)), axis=1)[:, :4])
            for _ in range(20)
        ]
        for name in times:
            start = time.perf_counter()
            for at, layers in wanted:
                store.read(at, layers) if name == "kview" else plain[at[:, None], layers]
            if turn:
                times[name].append((time.perf_counter() - start) / 20 * 1e3)
    return met & show(
        "batch from a store with a commit per row",
        size=f"B=32 K=4 T={T} H={H}",
        against="numpy memmap gather",
        unit="ms",
        ours=times["kview"],
        theirs=times["memmap"],
        reach=0.9,
    )


def zarr_python(path: Path, rows: np.ndarray, count: int, durable: bool) -> None:
    """The same shards through zarr-python, a shard at a time; it never waits for the disk."""
    array = zarr.create_array(
        path,
        shape=(count, L, T, H),
        chunks=(1, 1, T, H),
        shards=(SHARD_ROWS, L, T, H),
        dtype="f2",
        compressors=[zarr.codecs.Crc32cCodec()],
    )
    for start in range(0, count, SHARD_ROWS):
        stop = min(start + SHARD_ROWS, count)
        array[start:stop] = rows[np.arange(start, stop) % len(rows)]


def by_turns(
    folder: Path, rounds: int, **actions: Callable[[Path], None]
) -> dict[str, list[float]]:
    """Seconds of each action, each into a fresh folder, after a turn to warm up."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds + 1):
        for name, action in actions.items():
            path = folder / name
            start = time.perf_counter()
            action(path)
            if turn:
                times[name].append(time.perf_counter() - start)
            shutil.rmtree(path)
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary one by default")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((16, L, T, H), np.float32).astype(np.float16)
    size = arguments.rows * rows[0].nbytes
    met = True
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        for durable in (False, True):
            found = by_turns(
                Path(name),
                arguments.rounds,
                plain=lambda p, d=durable: plain(p, rows, arguments.rows, d),
                kview=lambda p, d=durable: ours(p, rows, arguments.rows, d),
                zarr_python=lambda p, d=durable: zarr_python(p, rows, arguments.rows, d),
            )
            to = "to the disk" if durable else "to the page cache"
            for against, peer, reach in (
                ("plain write of the same bytes", "plain", 0.5),
                ("zarr-python", "zarr_python", None),
            ):
                met &= show(
                    f"write, {to}",
                    size=f"{size / 2**20:.0f} MB",
                    against=against,
                    unit="s",
                    ours=found["kview"],
                    theirs=found[peer],
                    reach=reach,
                )
        met &= bench_commits(Path(name), rows, arguments.rows, arguments.rounds)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
