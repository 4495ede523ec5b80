"""Sample ids from hashkeys."""

import subprocess
import sys

import torch

from kview.contracts import sample_ids


def test_ids_are_the_same_in_every_process():
    code = (
        "from kview.contracts import sample_ids; print(sample_ids(['a', 'b', 'a', 'ü']).tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ids = sample_ids(["a", "b", "a", "ü"])
    assert run.stdout.strip() == str(ids.tolist())
    assert ids.dtype == torch.int64
    assert ids[0] == ids[2] == 3405396810240292928
    assert len(ids.unique()) == 3


def test_a_lone_surrogate_has_an_id_too():
    assert len(sample_ids(["\ud800", "\ud801", "?"]).unique()) == 3
