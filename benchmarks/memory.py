"""Peak memory of a training step: K=8 in chunks of 2 views against K=2, each in a fresh process.

Run it on Linux: `python benchmarks/memory.py`. It prints a JSON line per row.
"""

import sys

import torch

from kview.contracts import KViewBatch
from kview.train import ContrastiveTrainer, ContrastiveTrainerConfig, ProgressiveCompressor
from process_memory import in_a_fresh_process, resident, restart_peak
from rows import show

B, T, H, D = 32, 64, 1024, 128
ROUNDS = 3
REACH = 1.25


def batch(num_views: int, samples: int) -> KViewBatch:
    """Random activations in the dtype that stores keep, labelled half and half."""
    generator = torch.Generator().manual_seed(0)
    shape = (samples, num_views, T, H)
    return KViewBatch(
        hashkey=[f"sample {i}" for i in range(samples)],
        halu=torch.arange(samples).remainder(2).float(),
        views_activations=torch.randn(shape, generator=generator).half(),
        view_indices=torch.arange(num_views).repeat(samples, 1),
        input_length=torch.ones(samples, dtype=torch.long),
        token_mask=torch.ones(samples, T, dtype=torch.bool),
    )


def measure(num_views: int, chunk: int | None) -> int:
    """Bytes that a step needs at its peak, above imports and inputs."""
    config = ContrastiveTrainerConfig(
        num_views=num_views, batch_size=B, train_forward_chunk_views=chunk
    )
    trainer = ContrastiveTrainer(ProgressiveCompressor(H, D), config)
    trainer.training_step(batch(num_views, 2)).loss.backward()  # imports what a step imports
    inputs = batch(num_views, B)
    restart_peak()
    before = resident("VmRSS")
    trainer.training_step(inputs).loss.backward()
    return resident("VmHWM") - before


def main() -> int:
    """Alternates the cases and prints the rows; 1 where one falls short."""
    cases = {"k2": (2, None), "k8_chunks_of_2": (8, 2), "k8": (8, None)}
    peaks: dict[str, list[int]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, case in cases.items():
            views, chunk = case
            peaks[name].append(int(in_a_fresh_process(__file__, str(views), str(chunk or 0))))
    megabytes = {name: [value / 1e6 for value in found] for name, found in peaks.items()}
    what, size = "peak memory of a step", f"B={B} T={T} H={H} D={D}"
    met = [
        show(
            f"{what}, {name}",
            size=size,
            against="K=2",
            unit="MB",
            ours=megabytes[case],
            theirs=megabytes["k2"],
            compare="times as much",
            reach=reach,
        )
        for case, name, reach in (
            ("k8_chunks_of_2", "K=8 in chunks of 2 views", REACH),
            ("k8", "K=8", None),
        )
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(measure(int(sys.argv[1]), int(sys.argv[2]) or None))
    else:
        sys.exit(main())
