"""Sample ids for the loss: one number a hashkey, the same in every process and on every machine."""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor


def sample_ids(hashkeys: Sequence[str]) -> Int[Tensor, " B"]:
    """The hashkeys' 64-bit BLAKE2b digests, signed: (B,) int64.

    Python's own `hash` is salted a process, so ranks would disagree about who is the same sample.
    """
    return torch.tensor([_digest(key) for key in hashkeys], dtype=torch.int64)


def _digest(hashkey: str) -> int:
    digest = hashlib.blake2b(hashkey.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
