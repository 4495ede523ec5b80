"""`verify_store` finds the format, and damage reads well."""

from pathlib import Path

import pytest

from kview.contracts import StoreError
from kview.data import Damage, verify_store


def test_no_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no Zarr group"):
        verify_store(tmp_path)


def test_damage_reads_well() -> None:
    assert str(Damage("halu", None, None, "is gone")) == "halu: is gone"
    assert str(Damage("activations", 3, 1, "is gone")) == "activations, row 3, layer 1: is gone"
