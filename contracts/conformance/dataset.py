"""`check_dataset`: can batches be made of a dataset's samples?"""

import pickle
from typing import cast

from ..checking.report import Report, describe, grouped
from ..levels import checks
from ..protocols import ItemDataset
from ..views import KViewItem


def check_dataset(dataset: ItemDataset, *, num_views: int | None = None, most: int = 16) -> None:
    """Checks that a map-style dataset gives samples which a batch can be made of.

    Every sample keeps its contract at level `full`; all have the same K, T, H and dtype; asking
    again gives the same hashkey and label; the dataset ends with an IndexError, so that it can be
    iterated; and it can be pickled, so that workers can be spawned.

    Args:
        dataset: the dataset.
        num_views: the K that is expected; by default whatever the samples agree on.
        most: how many samples to look at, spread evenly.

    Raises:
        ContractError: with everything that was found.

    Examples:
        >>> from kview.contracts.conformance import check_dataset
        >>> check_dataset([])
        Traceback (most recent call last):
        kview.contracts.errors.ContractError: check_dataset(list) breaks 1 rule of its contract:
          - dataset: length: expected at least one sample, got 0
    """
    report = Report(f"check_dataset({type(dataset).__name__})")
    size = len(dataset)
    if size == 0:
        report.add(("dataset",), "length", "at least one sample", "0")
    dtypes: dict[str, str] = {}
    with checks("full"):
        for at in _spread(size, most):
            name = f"dataset[{at}]"
            item = report.attempt(name, lambda at=at: _checked_item(dataset[at]))
            if item is None:
                continue
            for axis, length in zip("KTH", item.views_activations.shape, strict=True):
                report.put(axis, name, length)
            dtypes[name] = str(item.views_activations.dtype)
            again = dataset[at]
            if (again.hashkey, float(again.halu)) != (item.hashkey, float(item.halu)):
                report.add(
                    (name,), "determinism", "one hashkey and label", "others when read again"
                )
            if num_views not in (None, item.views_activations.shape[0]):
                got = str(item.views_activations.shape[0])
                report.add((name,), "size of K", f"num_views={num_views}", got)
    if len(set(dtypes.values())) > 1:
        report.add(tuple(dtypes), "dtype", "one for all samples", grouped(dtypes))
    _check_end(report, dataset)
    _check_pickle(report, dataset)
    report.raise_if_any()


def _spread(size: int, most: int) -> list[int]:
    """Up to `most` positions from the first to the last."""
    if size <= most or most == 1:
        return list(range(min(size, most)))
    return [at * (size - 1) // (most - 1) for at in range(most)]


def _check_end(report: Report, dataset: ItemDataset) -> None:
    try:
        dataset[len(dataset)]
    except IndexError:
        return
    report.add(("dataset",), "end", "an IndexError at len(dataset)", "a sample")


def _check_pickle(report: Report, dataset: ItemDataset) -> None:
    try:
        again = cast(ItemDataset, pickle.loads(pickle.dumps(dataset)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        report.add(("dataset",), "pickle", "a dataset that spawned workers can have", str(error))
        return
    if len(again) != len(dataset):
        report.add(("dataset",), "pickle", f"length {len(dataset)}", f"{len(again)} after pickling")


def _checked_item(item: KViewItem) -> KViewItem:
    if not isinstance(item, KViewItem):  # pyright: ignore[reportUnnecessaryIsInstance]
        report = Report("KViewItem")
        report.add(("item",), "type", "KViewItem", describe(item))
        raise report.error()
    return item.replace()
