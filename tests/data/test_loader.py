"""The same batches for any number of workers and ranks, from any step on."""

import os
from collections.abc import Iterator

import pytest
import torch

from kview.contracts import ConfigError, KViewBatch, KViewItem, checks, current_level
from kview.data import ActivationDataset, ActivationStore
from kview.data.loader import load_batches
from kview.data.sampling import Draw


@pytest.fixture(scope="module")
def dataset(synthetic_store: ActivationStore) -> ActivationDataset:
    return ActivationDataset(synthetic_store, num_views=3)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
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


class TellsItsLevel:
    """Hides the level of the process that makes a batch in the batch."""

    def __getitem__(self, index: Draw) -> KViewItem:
        raise NotImplementedError

    def __getitems__(self, draws: list[Draw]) -> KViewBatch:
        level = ["off", "shape", "full"].index(current_level())
        return KViewBatch(
            hashkey=["a"] * len(draws),
            halu=torch.zeros(len(draws)),
            views_activations=torch.zeros(len(draws), 2, 1, 1),
            input_length=torch.tensor([level, os.getpid()])[: len(draws)],
        )


@pytest.mark.parametrize("level", ["off", "shape", "full"])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_workers_check_at_the_level_of_the_run(
    synthetic_store: ActivationStore, level: str, num_workers: int
) -> None:
    labels = synthetic_store.halu[:2]
    with checks(level):  # type: ignore[arg-type]
        batches = load_batches(
            TellsItsLevel(),
            labels=labels,
            seed=0,
            epoch=0,
            batch_size=2,
            start_step=0,
            rank=0,
            world_size=1,
            shuffle=True,
            balanced=False,
            num_workers=num_workers,
            pin_memory=False,
        )
        (batch,) = list(batches)
    found, process = batch.input_length.tolist()
    assert ["off", "shape", "full"][found] == level
    assert (process == os.getpid()) == (num_workers == 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"balanced": True, "shuffle": False}, "cannot take effect with shuffle=False"),
        ({"epoch": -1}, "negative"),
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
