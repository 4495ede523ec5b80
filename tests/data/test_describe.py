"""What a store holds, in figures."""

from pathlib import Path

import numpy as np
import pytest

from helpers.foreign_stores import Grid, foreign
from kview.data import ActivationStore, ActivationWriter, describe_store


def test_a_summary_counts(synthetic_path: Path, synthetic_store: ActivationStore) -> None:
    found = describe_store(synthetic_path)
    store = synthetic_store
    assert found.schemas == ("kview/1",)
    assert (found.rows, found.allocated_rows, found.dropped_rows) == (41, 41, 0)
    assert found.activation_bytes == 41 * 6 * 5 * 4 * 2
    assert found.disk_bytes is not None
    assert found.disk_bytes > found.activation_bytes
    assert found.labels == {label: (store.halu == label).sum() for label in (1, 0, -1)}
    assert found.truncated_rows == (store.response_lengths > 5).sum()
    assert (found.texts, found.grouped, found.top_k) == (41, True, None)
    assert found.problems == ()
    assert sum(b.rows for b in found.lengths) == 41
    for one in found.lengths:
        inside = (store.response_lengths >= one.first) & (store.response_lengths <= one.last)
        assert one.rows == inside.sum()


def test_norms_are_those_of_the_token_vectors(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 8)).astype("f2")
    with ActivationWriter.create(
        tmp_path / "a", layers=[3, 9], hidden_size=8, max_tokens=4, model="m"
    ) as writer:
        for row in range(3):
            writer.append(x[row], token_count=row + 1, input_length=0, hashkey=str(row))
    found = describe_store(tmp_path / "a").norms
    assert [n.layer for n in found] == [3, 9]
    for place, norms in enumerate(found):
        every = np.concatenate(
            [np.linalg.norm(x[row, place, : row + 1].astype("f8"), axis=-1) for row in range(3)]
        )
        assert norms.rows == 3
        assert norms.mean == pytest.approx(every.mean())
        assert norms.deviation == pytest.approx(every.std())
        assert norms.largest == pytest.approx(every.max())


def test_problems_are_told(tmp_path: Path) -> None:
    written = foreign(grid=Grid(chunks=(1, 1, 4, 2)), lengths=[4, 0, 4, 4, 4])
    written.activations[2, 0] = 0
    path = written.write(tmp_path / "a.zarr")
    (path / "arrays/response_activations/3.1.0.0").unlink()
    (path / "arrays/response_activations/4.2.0.0").write_bytes(b"1")
    (path / "arrays/response_activations/2.0.0.0").write_bytes(bytes(16))
    told = "\n".join(describe_store(path, generation=tmp_path / "none", labels="none").problems)
    for words in (
        "1 rows have no response token",
        "layer 1 is missing for 1 of 4 rows",
        "row 4, layer 2: chunk is truncated",
        "layer 0 is all zeros or not finite in 1 of 4 rows",
        "none cannot be read",
        "rows of both labels are needed",
    ):
        assert words in told


def test_an_empty_store_is_described(tmp_path: Path) -> None:
    ActivationWriter.create(
        tmp_path / "a", layers=[0], hidden_size=2, max_tokens=1, model=""
    ).close()
    found = describe_store(tmp_path / "a")
    assert (found.rows, found.labels, found.lengths, found.norms) == (0, {}, (), ())
