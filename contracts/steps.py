"""How many batches an epoch has: one rule for sources and for schedules."""


def steps_per_epoch(num_rows: int, batch_size: int, world_size: int = 1) -> int:
    """Batches in an epoch of `num_rows` samples.

    Args:
        num_rows: samples in an epoch.
        batch_size: samples in a batch, over all processes.
        world_size: processes; a last batch with fewer samples than these is dropped.
    """
    full, tail = divmod(num_rows, batch_size)
    return full + (tail >= world_size)
