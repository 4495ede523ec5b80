"""What checking costs: construction, boundaries, errors, imports, and a whole training step.

Prints a JSON line a row; times are the best of several runs that take turns. Run it with nothing
else on the machine:

    python benchmarks/contracts.py [--step]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kview.contracts import ContractError, KViewBatch, ZViews, boundary, checks
from kview.contracts.levels import Level
from kview.contracts.plan import Plan

B, K, T, H, D = 64, 4, 64, 1024, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainBatch:
    """The same fields, unchecked."""

    hashkey: list[str]
    halu: Tensor
    views_activations: Tensor
    view_indices: Tensor
    input_length: Tensor
    token_mask: Tensor


def fields() -> dict[str, Any]:
    seed = torch.Generator().manual_seed(0)
    return {
        "hashkey": [f"sample-{b}" for b in range(B)],
        "halu": torch.randint(0, 2, (B,), generator=seed).float(),
        "views_activations": torch.randn(B, K, T, H, generator=seed),
        "view_indices": torch.rand(B, 32, generator=seed).argsort(1)[:, :K],
        "input_length": torch.randint(1, 99, (B,), generator=seed),
        "token_mask": torch.ones(B, T, dtype=torch.bool),
    }


@boundary
def step(batch: KViewBatch, z_views: ZViews) -> ZViews:
    """Does nothing, between two checks."""
    return z_views


def microseconds(rows: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, float]:
    """The best time of each, the rows taking turns."""
    best = dict.fromkeys(rows, float("inf"))
    for name, row in rows.items():
        row()
        best[name] = timeit.timeit(row, number=1)
    counts = {name: max(1, int(0.05 / best[name])) for name in rows}
    for _ in range(rounds):
        for name, row in rows.items():
            best[name] = min(best[name], timeit.timeit(row, number=counts[name]) / counts[name])
    return {name: seconds * 1e6 for name, seconds in best.items()}


def at(level: Level, action: Callable[[], object]) -> Callable[[], object]:
    """The action at a level of checking, set from outside what is timed by the environment's."""

    def run() -> object:
        with checks(level):
            return action()

    return run


def show(benchmark: str, reach: str, **figures: object) -> None:
    print(json.dumps({"benchmark": benchmark, "reach": reach, **figures}), flush=True)


def construction() -> None:
    given = fields()
    batch = KViewBatch(**given)
    z = torch.randn(B, K, D)
    broken = {**given, "hashkey": given["hashkey"][1:], "halu": given["halu"].long()}

    def refused() -> None:
        with suppress(ContractError):
            KViewBatch(**broken)

    times = microseconds(
        {
            "plain": lambda: PlainBatch(**given),
            "block": at("off", lambda: None),
            "off": at("off", lambda: KViewBatch(**given)),
            "shape": at("shape", lambda: KViewBatch(**given)),
            "full": at("full", lambda: KViewBatch(**given)),
            "boundary off": at("off", lambda: step(batch, z)),
            "boundary shape": at("shape", lambda: step(batch, z)),
            "report": at("shape", refused),
            "flatten": lambda: batch.flatten(),
        }
    )
    block = times.pop("block")
    cost = {name: round(t - (block if name != "plain" else 0), 2) for name, t in times.items()}
    show(
        "checked construction",
        "<= 100 us",
        sizes=[B, K, T, H],
        microseconds=cost["shape"],
        plain_microseconds=cost["plain"],
    )
    show(
        "construction when off",
        "<= 2 us more than a plain dataclass",
        more_microseconds=round(cost["off"] - cost["plain"], 2),
    )
    show("construction at full", "reads every activation", microseconds=cost["full"])
    show(
        "boundary with a batch and two tensors",
        "none",
        microseconds=cost["boundary shape"],
        off_microseconds=cost["boundary off"],
    )
    show("refusal with its report", "none", microseconds=cost["report"])


def imports(rounds: int = 5) -> None:
    """Fresh interpreters, taking turns."""
    statements = {
        "libraries": "import torch, jaxtyping, beartype",
        "contracts": "import torch, jaxtyping, beartype; import kview.contracts",
    }
    seconds: dict[str, list[float]] = {name: [] for name in statements}
    program = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    for _ in range(rounds):
        for name, statement in statements.items():
            command = [sys.executable, "-c", program.format(statement)]
            seconds[name].append(float(subprocess.check_output(command)))
    more = statistics.median(seconds["contracts"]) - statistics.median(seconds["libraries"])
    show(
        "import kview.contracts",
        "<= 50 ms more than torch, jaxtyping and beartype",
        more_milliseconds=round(more * 1e3, 1),
        libraries_milliseconds=round(statistics.median(seconds["libraries"]) * 1e3, 1),
    )


class Stopwatch:
    """Sums the time of the outermost of nested calls."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = 0
        self._depth = 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            self._depth += 1
            start = time.perf_counter()
            try:
                return function(*args)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - start
                    self.calls += 1

        return timed


def training_step(steps: int = 5) -> None:
    """Forward, loss and backward of a training step, and the checks within it."""
    from kview.train import ContrastiveTrainer, ContrastiveTrainerConfig, ProgressiveCompressor

    trainer = ContrastiveTrainer(ProgressiveCompressor(H, D), ContrastiveTrainerConfig(num_views=K))
    batch = KViewBatch(**fields())
    trainer.training_step(batch).loss.backward()  # the plans are made here

    @boundary
    def nothing(x: int) -> int:
        return x

    # a boundary's own cost besides its checks: binding the arguments, the table
    calls = microseconds(
        {"on": at("shape", lambda: nothing(1)), "off": at("off", lambda: nothing(1))}
    )
    frame = (calls["on"] - calls["off"]) / 1e6
    watch = Stopwatch()
    plan_accepts = Plan.accepts
    Plan.accepts = watch.around(plan_accepts)  # type: ignore[method-assign]
    try:
        start = time.perf_counter()
        for _ in range(steps):
            trainer.training_step(batch).loss.backward()
        whole = time.perf_counter() - start
    finally:
        Plan.accepts = plan_accepts  # type: ignore[method-assign]
    checked = watch.seconds + watch.calls * frame
    show(
        "boundaries in a training step",
        "<= 1 %",
        sizes=[B, K, T, H],
        threads=torch.get_num_threads(),
        percent=round(100 * checked / whole, 3),
        checks_a_step=watch.calls / steps,
        checking_microseconds=round(checked / steps * 1e6, 1),
        step_milliseconds=round(whole / steps * 1e3, 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", action="store_true", help="only the training step")
    if not parser.parse_args().step:
        construction()
        imports()
    training_step()


if __name__ == "__main__":
    main()
