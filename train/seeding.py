"""Random state as a pure function of where a run is, so that any step can be repeated."""

import torch

_64_BITS = 0xFFFFFFFFFFFFFFFF


def seed_step(seed: int, epoch: int, step: int, rank: int) -> None:
    """Seeds torch's generators for one step of one process."""
    mixed = 0
    for part in (seed, epoch, step, rank):
        mixed = _mix((mixed + part + 0x9E3779B97F4A7C15) & _64_BITS)
    torch.manual_seed(mixed)


def _mix(x: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every bit depends on every bit."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _64_BITS
    return x ^ (x >> 31)
