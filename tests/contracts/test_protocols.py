"""What sources and schedules agree on."""

import pytest

from kview.contracts import steps_per_epoch


@pytest.mark.parametrize(
    ("rows", "batch_size", "world_size", "steps"),
    [(8, 4, 1, 2), (9, 4, 1, 3), (9, 4, 2, 2), (10, 4, 2, 3), (3, 4, 1, 1), (3, 4, 4, 0)],
)
def test_a_last_batch_counts_where_every_process_has_a_sample_of_it(
    rows: int, batch_size: int, world_size: int, steps: int
) -> None:
    assert steps_per_epoch(rows, batch_size, world_size) == steps
