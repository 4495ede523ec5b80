"""What checking costs: construction, boundaries, errors, imports, and a whole training step.

Prints a JSON line per row, of rounds that take turns; exits 1 where one is short. Run it with
nothing else on the machine:

    python benchmarks/contracts.py [--step]
"""

import argparse
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
from kview.contracts.checking.plan import Plan
from kview.contracts.levels import Level
from rows import show

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


def microseconds(
    actions: dict[str, Callable[[], object]], rounds: int = 7
) -> dict[str, list[float]]:
    """Microseconds of each action, one per round, the actions taking turns."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    once = {
        name: min(timeit.repeat(action, number=1, repeat=3)) for name, action in actions.items()
    }
    counts = {name: max(1, int(0.05 / seconds)) for name, seconds in once.items()}
    for _ in range(rounds):
        for name, action in actions.items():
            seconds = timeit.timeit(action, number=counts[name]) / counts[name]
            times[name].append(seconds * 1e6)
    return times


def at(level: Level, action: Callable[[], object]) -> Callable[[], object]:
    """The action at a level of checking, set from outside what is timed by the environment's."""

    def run() -> object:
        with checks(level):
            return action()

    return run


def construction() -> bool:
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
    block = statistics.median(times.pop("block"))
    plain = times.pop("plain")
    cost = {name: [t - block for t in found] for name, found in times.items()}
    size = f"B={B} K={K} T={T} H={H}"
    met = [
        show(
            what,
            size=size,
            against="plain dataclass",
            unit="us",
            ours=cost[level],
            theirs=plain,
            compare="more",
            reach=reach,
        )
        for what, level, reach in (
            ("checked batch construction", "shape", 100),
            ("batch construction, checks off", "off", 2),
        )
    ]
    for what, name in (
        ("batch construction at full, which reads every activation", "full"),
        ("a boundary with a batch and two tensors", "boundary shape"),
        ("the same, checks off", "boundary off"),
        ("a refusal with its report", "report"),
    ):
        show(what, size=size, unit="us", ours=cost[name], compare="itself")
    return all(met)


def imports(rounds: int = 7) -> bool:
    """In fresh interpreters: what kview adds once its libraries are there.

    The difference of two whole imports of a second each would drown in their spread.
    """
    program = (
        "import time, torch, jaxtyping, beartype; t = time.perf_counter(); "
        "import kview.contracts; print(time.perf_counter() - t)"
    )
    command = [sys.executable, "-c", program]
    return show(
        "import kview.contracts, after torch, jaxtyping and beartype",
        unit="ms",
        ours=[1e3 * float(subprocess.check_output(command)) for _ in range(rounds)],
        compare="itself",
        reach=50,
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


def training_step(rounds: int = 7) -> bool:
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
    frame = (statistics.median(calls["on"]) - statistics.median(calls["off"])) / 1e6
    watch = Stopwatch()
    checking: list[float] = []
    steps: list[float] = []
    plan_accepts = Plan.accepts
    Plan.accepts = watch.around(plan_accepts)  # type: ignore[method-assign]
    try:
        for _ in range(rounds):
            before, calls_before = watch.seconds, watch.calls
            start = time.perf_counter()
            trainer.training_step(batch).loss.backward()
            steps.append(1e3 * (time.perf_counter() - start))
            frames = (watch.calls - calls_before) * frame
            checking.append(1e3 * (watch.seconds - before + frames))
    finally:
        Plan.accepts = plan_accepts  # type: ignore[method-assign]
    return show(
        "checks within a training step",
        size=f"B={B} K={K} T={T} H={H}",
        against="the step",
        unit="ms",
        ours=checking,
        theirs=steps,
        compare="times as much",
        reach=0.01,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", action="store_true", help="only the training step")
    if parser.parse_args().step:
        return 0 if training_step() else 1
    return 0 if all([construction(), imports(), training_step()]) else 1


if __name__ == "__main__":
    sys.exit(main())
