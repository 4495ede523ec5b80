"""What the tests of commands share."""

from pathlib import Path

import pytest

from kview.data import write_synthetic_store


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "store.zarr"
    write_synthetic_store(path, num_rows=80, num_layers=5, hidden_size=16, max_tokens=4, seed=1)
    return path
