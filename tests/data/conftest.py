"""A small native store, written once."""

from pathlib import Path

import pytest

from kview.data import ActivationStore, write_synthetic_store


@pytest.fixture(scope="session")
def synthetic_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synthetic") / "a.zarr"
    write_synthetic_store(
        path,
        num_rows=41,
        num_layers=6,
        hidden_size=4,
        max_tokens=5,
        seed=3,
        shard_rows=8,
        unlabelled_share=0.1,
    )
    return path


@pytest.fixture(scope="session")
def synthetic_store(synthetic_path: Path) -> ActivationStore:
    return ActivationStore.open(synthetic_path)
