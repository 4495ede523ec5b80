"""Right bytes from any grid, through every way of reading."""

import pickle
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
import zarr.codecs
from hypothesis import given
from hypothesis import strategies as st

from helpers.foreign_stores import Grid, foreign, masked
from kview.data import ActivationStore
from kview.data.layout import file_cache
from kview.data.layout.activations import ActivationArray, ZarrReader
from kview.data.layout.chunk_reader import ChunkReader

UNUSUAL: list[dict[str, Any]] = [
    {},
    {"compressors": [zarr.codecs.ZstdCodec()], "zarr_format": 3},
    {"compressors": [zarr.codecs.Crc32cCodec()], "zarr_format": 3},
    {"compressors": None, "zarr_format": 3},
    {"order": "F"},
    {"dtype": ">f2"},
    {"dtype": ">f2", "zarr_format": 3},
]


def array_of(store: ActivationStore) -> ActivationArray:
    found = store.parts[0].activations
    assert isinstance(found, ActivationArray)
    return found


@st.composite
def stores(draw: st.DrawFn) -> Any:
    size = st.integers(1, 5)
    N, L, T, H = draw(size), draw(size), draw(size), draw(size)
    chunks = tuple(draw(st.integers(1, n + 1)) for n in (N, L, T))
    hidden = draw(st.sampled_from([H, H, H, max(1, H - 1)]))
    settings = draw(st.sampled_from(UNUSUAL))
    shards = None
    if settings.get("zarr_format") == 3 and draw(st.booleans()):
        shards = tuple(c * draw(st.integers(1, 3)) for c in (*chunks, hidden))
    lengths = draw(st.lists(st.integers(1, T), min_size=N, max_size=N))
    grid = Grid(chunks=(*chunks, hidden), shards=shards, **settings)
    return foreign(
        rows=N,
        layers=L,
        tokens=T,
        hidden=H,
        grid=grid,
        lengths=lengths,
        seed=draw(st.integers(0, 99)),
        allocated=N + draw(st.integers(0, 3)),
    )


@given(
    store=stores(),
    seed=st.integers(0, 99),
    cut=st.integers(1, 7),
    way=st.sampled_from(["own", "mapped", "zarr", "remote"]),
)
def test_every_way_reads_what_zarr_reads(
    store: Any, seed: int, cut: int, way: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = store.write(tmp_path_factory.mktemp("grid") / "a.zarr")
    expected = masked(
        np.asarray(zarr.open_array(path / "arrays/response_activations")[: len(store.lengths)]),
        store.lengths,
        cut,
    )
    rng = np.random.default_rng(seed)
    N, L = expected.shape[:2]
    rows = rng.integers(0, N, 4)
    layers = rng.integers(0, L, (4, 3))
    with pytest.MonkeyPatch.context() as patch:
        if way == "mapped":
            patch.setattr(file_cache, "fill", file_cache._fill_mapped)
        if way == "remote":
            memory = fsspec.filesystem("memory")
            if memory.exists("/grid.zarr"):
                memory.rm("/grid.zarr", recursive=True)
            memory.put(str(path), "/grid.zarr", recursive=True)
        opened = ActivationStore.open("memory://grid.zarr" if way == "remote" else path)
        if way == "zarr":
            part = array_of(opened)
            part.reader = ZarrReader(part.files, part.meta, part.index)
        found = opened.read(rows, layers, max_tokens=cut)
        again = opened.read(rows, layers, max_tokens=cut)
    np.testing.assert_array_equal(found, expected[rows[:, None], layers])
    np.testing.assert_array_equal(again, found)
    assert opened.stored(rows, layers).all()


@pytest.mark.parametrize("settings", [{}, {"zarr_format": 3}], ids=["v2", "v3"])
def test_plain_local_arrays_are_read_directly(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = foreign(grid=Grid(chunks=(2, 1, 3, 2), **settings)).write(tmp_path / "a.zarr")
    assert isinstance(array_of(ActivationStore.open(path)).reader, ChunkReader)


@pytest.mark.parametrize("settings", UNUSUAL[1:2] + UNUSUAL[4:], ids=str)
def test_other_arrays_are_left_to_zarr(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = foreign(grid=Grid(chunks=(2, 1, 3, 2), **settings)).write(tmp_path / "a.zarr")
    assert isinstance(array_of(ActivationStore.open(path)).reader, ZarrReader)


def test_reading_into_a_buffer_takes_its_length(tmp_path: Path) -> None:
    store = foreign(lengths=[1, 2, 3, 4, 4])
    opened = ActivationStore.open(store.write(tmp_path / "a.zarr"))
    out = np.full((2, 2, 3, 2), 9, "f2")
    found = opened.read([0, 3], [[0, 1], [2, 0]], out)
    assert found is out
    expected = masked(store.activations, store.lengths, 3)
    np.testing.assert_array_equal(out, expected[[[0], [3]], [[0, 1], [2, 0]]])


def test_a_store_can_be_sent_to_another_process(tmp_path: Path) -> None:
    store = foreign(grid=Grid(chunks=(1, 1, 4, 2), shards=(5, 3, 4, 2), zarr_format=3))
    opened = ActivationStore.open(store.write(tmp_path / "a.zarr"))
    expected = opened.read([1], [[0, 2]])
    sent = pickle.loads(pickle.dumps(opened))
    np.testing.assert_array_equal(sent.read([1], [[0, 2]]), expected)


def test_many_files_stay_within_the_limit_of_open_ones(tmp_path: Path) -> None:
    store = foreign(rows=200, layers=2, tokens=1, hidden=1)
    array = array_of(ActivationStore.open(store.write(tmp_path / "a.zarr")))
    assert isinstance(array.reader, ChunkReader)
    rows, layers = np.arange(200), np.zeros((200, 2), int)
    array.read(rows, layers, np.ones(200, int), np.empty((200, 2, 1, 1), "f2"))
    assert 0 < len(array.reader._files._open) <= 128
    array.close()
    assert not array.reader._files._open
