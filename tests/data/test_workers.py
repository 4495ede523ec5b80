"""The same batches for any number of workers and ranks, from any step on."""

import gc
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from kview.contracts import ConfigError, KViewBatch, KViewItem, StoreError, checks, current_level
from kview.data import ActivationDataset, ActivationStore
from kview.data.view_sampling import Draw
from kview.data.workers import read_by_processes, read_by_threads


@pytest.fixture(scope="module")
def dataset(synthetic_store: ActivationStore) -> ActivationDataset:
    return ActivationDataset(synthetic_store, num_views=3)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_workers_change_nothing(
    dataset: ActivationDataset, num_workers: int, balanced: bool
) -> None:
    alone = list(dataset.batches(epoch=2, batch_size=12, balanced=balanced))
    shared = list(
        dataset.batches(epoch=2, batch_size=12, balanced=balanced, num_workers=num_workers)
    )
    assert [len(b) for b in alone] == [12, 12, 12, 5]
    assert all(a.equals(b) for a, b in zip(alone, shared, strict=True))


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_divide_the_same_batches(
    dataset: ActivationDataset, world_size: int, balanced: bool
) -> None:
    def samples(batches: Iterator[KViewBatch]) -> list[set[tuple[str, tuple[int, ...]]]]:
        return [
            set(zip(b.hashkey, map(tuple, b.view_indices.tolist()), strict=True))  # type: ignore[union-attr]
            for b in batches
        ]

    def shares(rank: int, size: int) -> list[set[tuple[str, tuple[int, ...]]]]:
        batches = dataset.batches(
            epoch=1, batch_size=13, rank=rank, world_size=size, balanced=balanced
        )
        return samples(batches)

    whole = shares(0, 1)
    parts = [shares(rank, world_size) for rank in range(world_size)]
    whole = whole if world_size <= 41 % 13 else whole[:-1]
    assert [set().union(*step) for step in zip(*parts, strict=True)] == whole


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_goes_on_from_any_step(dataset: ActivationDataset, num_workers: int) -> None:
    whole = list(dataset.batches(epoch=3, batch_size=8))
    for start in range(len(whole) + 1):
        rest = list(
            dataset.batches(epoch=3, batch_size=8, start_step=start, num_workers=num_workers)
        )
        assert len(rest) == len(whole) - start
        assert all(a.equals(b) for a, b in zip(whole[start:], rest, strict=True))


def test_epochs_differ_and_rows_in_order_do_not(dataset: ActivationDataset) -> None:
    first, second = (next(dataset.batches(epoch=e, batch_size=41)) for e in (0, 1))
    assert first.hashkey != second.hashkey
    assert sorted(first.hashkey) == sorted(second.hashkey)
    ordered = [next(dataset.batches(epoch=e, batch_size=41, shuffle=False)) for e in (0, 1)]
    assert ordered[0].hashkey == ordered[1].hashkey == dataset.hashkeys
    assert not ordered[0].equals(ordered[1])


def test_loading_leaves_the_default_generator_alone(dataset: ActivationDataset) -> None:
    before = torch.get_rng_state()
    list(dataset.batches(epoch=0, batch_size=20))
    list(dataset.batches(epoch=0, batch_size=20, num_workers=1))
    assert torch.equal(torch.get_rng_state(), before)


class TellsItsLevel(Dataset[KViewItem]):
    """Hides the level in force where a batch is made in the batch, and where that was."""

    def __getitem__(self, index: Draw) -> KViewItem:
        raise NotImplementedError

    def __getitems__(self, draws: list[Draw]) -> KViewBatch:
        level = ["off", "shape", "full"].index(current_level())
        place = [level, os.getpid(), threading.get_ident() % 2**31]
        return KViewBatch(
            hashkey=["a"] * len(draws),
            halu=torch.zeros(len(draws)),
            views_activations=torch.zeros(len(draws), 2, 1, 1),
            input_length=torch.tensor(place),
        )


@pytest.mark.parametrize("level", ["off", "shape", "full"])
@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("workers", ["threads", "processes"])
def test_workers_check_at_the_level_of_the_run(level: Any, num_workers: int, workers: str) -> None:
    source, batches = TellsItsLevel(), [[Draw(0), Draw(1), Draw(2)]]
    with checks(level):
        if workers == "threads":
            found = read_by_threads(
                source.__getitems__, batches, num_workers=num_workers, pin_memory=False
            )
        else:
            found = read_by_processes(source, batches, num_workers=num_workers, pin_memory=False)
        (batch,) = list(found)
    number, process, thread = batch.input_length.tolist()
    assert ["off", "shape", "full"][number] == level
    assert (process != os.getpid()) == (num_workers == 1 and workers == "processes")
    if workers == "threads":
        assert (thread != threading.get_ident() % 2**31) == (num_workers == 1)


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_an_error_in_a_worker_comes_whole(num_workers: int) -> None:
    def fail(draws: list[Draw]) -> KViewBatch:
        raise StoreError(f"row {draws[0].row} is gone")

    batches = read_by_threads(
        fail, [[Draw(3)], [Draw(4)]], num_workers=num_workers, pin_memory=False
    )
    with pytest.raises(StoreError, match=r"^row 3 is gone$"):
        next(batches)


def test_threads_end_with_their_consumer(dataset: ActivationDataset) -> None:
    batches = dataset.batches(epoch=0, batch_size=4, num_workers=2)
    next(batches)
    assert any(t.name.startswith("kview-read") for t in threading.enumerate())
    del batches
    gc.collect()
    assert not any(t.name.startswith("kview-read") for t in threading.enumerate())


@pytest.mark.parametrize(
    "workers",
    [
        pytest.param({}, id="none"),
        pytest.param({"num_workers": 2}, id="two"),
        pytest.param({"num_workers": 2, "persistent_workers": True}, id="kept"),
        pytest.param(
            {"num_workers": 1, "multiprocessing_context": "spawn"},
            id="spawned",
            marks=pytest.mark.soak,
        ),
    ],
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_torchs_own_loader_sees_new_views_in_every_pass(
    synthetic_store: ActivationStore, workers: dict[str, Any], shuffle: bool
) -> None:
    dataset = ActivationDataset(synthetic_store, num_views=3)
    loader = DataLoader(dataset, batch_size=8, shuffle=shuffle, **workers)
    rows = {key: row for row, key in enumerate(dataset.hashkeys)}
    for epoch in (0, 1, 2):
        batches = list(loader)
        assert sorted(rows[k] for b in batches for k in b.hashkey) == list(range(41))
        for batch in batches:
            draws = [Draw(rows[key], epoch) for key in batch.hashkey]
            assert batch.equals(dataset.__getitems__(draws))
    dataset.set_epoch(7)
    batch = next(iter(loader))
    assert batch.equals(dataset.__getitems__([Draw(rows[key], 7) for key in batch.hashkey]))


def test_only_a_loader_counts_as_a_pass(synthetic_store: ActivationStore) -> None:
    dataset = ActivationDataset(synthetic_store, num_views=3)
    before = dataset.fingerprint, list(dataset.batches(epoch=1, batch_size=16))
    assert dataset[3].equals(dataset[3])
    first, second = (dataset.__getitems__([3, 4, 3]) for _ in range(2))
    expected = [dataset.__getitems__([Draw(3, e), Draw(4, e // 2), Draw(3, e + 1)]) for e in (0, 2)]
    assert first.equals(expected[0])
    assert second.equals(expected[1])
    after = dataset.fingerprint, list(dataset.batches(epoch=1, batch_size=16))
    assert after[0] == before[0]
    assert all(a.equals(b) for a, b in zip(before[1], after[1], strict=True))
    with pytest.raises(ConfigError, match="epoch=-1"):
        dataset.set_epoch(-1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"balanced": True, "shuffle": False}, "cannot take effect with shuffle=False"),
        ({"epoch": -1}, "count from 0"),
        ({"num_workers": -1}, "negative"),
        ({"rank": 1}, "needs a sample for every rank"),
    ],
)
def test_settings_that_cannot_take_effect_are_refused(
    dataset: ActivationDataset, settings: dict[str, int], message: str
) -> None:
    arguments = {"epoch": 0, "batch_size": 4, **settings}
    with pytest.raises(ConfigError, match=message):
        dataset.batches(**arguments)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is memory to pin for")
def test_pinning_without_an_accelerator_is_refused(dataset: ActivationDataset) -> None:
    with pytest.raises(ConfigError, match="no accelerator"):
        dataset.batches(epoch=0, batch_size=4, pin_memory=True)
