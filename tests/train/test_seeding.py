"""Random state as a function of where a run is."""

import itertools

import torch

from kview.train.seeding import seed_step


def drawn(*where: int) -> float:
    seed_step(*where)
    return torch.rand(1, dtype=torch.float64).item()


def test_a_step_is_seeded_by_all_of_seed_epoch_step_and_rank():
    places = list(itertools.product(range(3), repeat=4))
    with torch.random.fork_rng():
        found = [drawn(*place) for place in places]
        assert len(set(found)) == len(places)
        assert [drawn(*place) for place in places] == found
