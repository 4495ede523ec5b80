"""Runs every benchmark, one after the other, and writes what they found.

    python benchmarks/run.py [--only loss knn]

Writes `benchmarks/results.json` and the table in `docs/benchmarks.md`, and exits 1 where a row
falls short of its reach. A script with a row that falls short is run once more, and only that
second run counts. Run it with nothing else on the machine.
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch

from rows import Row, Spread, read

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent / "docs" / "benchmarks.md"
BENCHMARKS = ("contracts", "loader", "writer", "loss", "metrics", "memory", "knn", "evaluation")
PACKAGES = (
    *("kview", "torch", "numpy", "zarr", "scikit-learn", "pytorch-metric-learning"),
    *("jaxtyping", "beartype"),
)
MARK = "<!-- the rest is written by benchmarks/run.py -->"
FIGURES = {
    "times as fast": "{} x as fast",
    "times as much": "{} x",
    "more": "{} {unit} more",
    "itself": "{} {unit}",
}


def run(name: str) -> tuple[list[Row], float]:
    """One benchmark's rows, and the seconds it took.

    Raises:
        RuntimeError: it failed; falling short is no failure.
    """
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py")], stdout=subprocess.PIPE, text=True
    )
    rows = [read(line) for line in done.stdout.splitlines()]
    short = [row for row in rows if not row.ok]
    if not rows or done.returncode != (1 if short else 0):
        raise RuntimeError(f"{name}.py ended with {done.returncode} after {len(rows)} rows")
    return rows, time.perf_counter() - start


def machine() -> dict[str, str]:
    """What the figures were measured on, and with."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "CPU": cpu or platform.machine(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "memory": f"{memory:.0f} GiB",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def table(rows: list[Row]) -> list[str]:
    """A line per row: medians with their range, the figure, and what it is to reach."""
    lines = [
        "| what | size | kview | against | it takes | figure | reach |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        sign = ">=" if row.compare == "times as fast" else "<="
        reach = (
            "" if row.reach is None else f"{sign} {row.reach:g}{'' if row.ok else ', **short**'}"
        )
        theirs = "" if row.theirs is None else words(row.theirs, row.unit)
        figure = FIGURES[row.compare].format(f"{row.figure:.3g}", unit=row.unit)
        ours = words(row.ours, row.unit)
        cells = (row.what, row.size, ours, row.against, theirs, figure, reach)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def words(spread: Spread, unit: str) -> str:
    """A median and, of several rounds, their range."""
    around = "" if spread.rounds == 1 else f" ({spread.low:.3g} to {spread.high:.3g})"
    return f"{spread.median:.3g} {unit}{around}"


def page(rows: list[Row], twice: list[str], found: dict[str, str], seconds: float) -> list[str]:
    """The page's written part."""
    gpu = (
        "No GPU was at hand: nothing here was measured on one."
        if found["GPU"] == "none"
        else f"A {found['GPU']} was at hand; these rows are the CPU's."
    )
    return [
        MARK,
        "",
        *table(rows),
        "",
        f"Measured in {seconds / 60:.0f} minutes. Run twice, for a row that fell short at first: "
        f"{', '.join(twice) or 'none'}. {gpu}",
        "",
        "| machine and versions | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in found.items()),
    ]


def main() -> int:
    """Runs, writes, and says whether every row reached what it is to reach."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, help="run these; write nothing")
    only = parser.parse_args().only
    rows: list[Row] = []
    twice: list[str] = []
    total = 0.0
    for name in only or BENCHMARKS:
        found, seconds = run(name)
        if not all(row.ok for row in found):
            twice.append(name)
            found, more = run(name)
            seconds += more
        print(f"{name}: {len(found)} rows in {seconds:.0f} s", file=sys.stderr)
        print("\n".join(table(found)[2:]), flush=True)
        rows += found
        total += seconds
    if not only:
        about = machine()
        results = {
            "machine": about,
            "run_twice": twice,
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        (FOLDER / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        kept = PAGE.read_text().partition(MARK)[0].rstrip()
        PAGE.write_text("\n".join([kept, "", *page(rows, twice, about, total)]) + "\n")
    short = [row for row in rows if not row.ok]
    for row in short:
        print(f"short: {row.what} against {row.against}: {row.figure}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
