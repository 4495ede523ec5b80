"""`check_dataset`: can batches be made of a dataset's samples?"""

import pickle
from functools import partial

from ..checking.outcome import outcome, words
from ..checking.report import Report, describe, grouped
from ..errors import ContractError
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
        ContractError: with everything that was found, whatever the dataset raises included.

    Examples:
        >>> from kview.contracts.conformance import check_dataset
        >>> check_dataset([])
        Traceback (most recent call last):
        kview.contracts.errors.ContractError: check_dataset(list) breaks 1 rule of its contract:
          - dataset: length: expected at least one sample, got 0
    """
    report = Report(f"check_dataset({type(dataset).__name__})")
    size = report.attempt("dataset", "a length", lambda: len(dataset))
    if size == 0:
        report.add(("dataset",), "length", "at least one sample", "0")
    if size is not None:
        with checks("full"):
            _check_samples(report, dataset, _spread(size, most), num_views)
        _check_end(report, dataset, size)
        _check_pickle(report, dataset, size)
    report.raise_if_any()


def _check_samples(
    report: Report, dataset: ItemDataset, places: list[int], num_views: int | None
) -> None:
    dtypes: dict[str, str] = {}
    for at in places:
        name = f"dataset[{at}]"
        read = partial(_checked_item, dataset, at)
        item = report.attempt(name, "a sample", read)
        again = report.attempt(name, "a sample when read again", read) if item else None
        if item is None or again is None:
            continue
        K, T, H = item.views_activations.shape
        for axis, length in (("K", K), ("T", T), ("H", H)):
            report.put(axis, name, length)
        dtypes[name] = str(item.views_activations.dtype)
        if (again.hashkey, float(again.halu)) != (item.hashkey, float(item.halu)):
            report.add((name,), "determinism", "one hashkey and label", "others when read again")
        if num_views not in (None, K):
            report.add((name,), "size of K", f"num_views={num_views}", str(K))
    if len(set(dtypes.values())) > 1:
        report.add(tuple(dtypes), "dtype", "one for all samples", grouped(dtypes))


def _spread(size: int, most: int) -> list[int]:
    """Up to `most` positions from the first to the last."""
    if size <= most or most == 1:
        return list(range(min(size, most)))
    return [at * (size - 1) // (most - 1) for at in range(most)]


def _check_end(report: Report, dataset: ItemDataset, size: int) -> None:
    end = outcome(lambda: dataset[size])
    if not isinstance(end, IndexError):
        got = words(end) if isinstance(end, Exception) else "a sample"
        report.add(("dataset",), "end", "an IndexError at len(dataset)", got)


def _check_pickle(report: Report, dataset: ItemDataset, size: int) -> None:
    again = outcome(lambda: len(pickle.loads(pickle.dumps(dataset))))
    if isinstance(again, Exception):
        report.add(("dataset",), "pickle", "a dataset that spawned workers can have", words(again))
    elif again != size:
        report.add(("dataset",), "pickle", f"length {size}", f"{again} after pickling")


def _checked_item(dataset: ItemDataset, at: int) -> KViewItem:
    item = dataset[at]
    if not isinstance(item, KViewItem):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ContractError.of("KViewItem", "item", "type", "KViewItem", describe(item))
    return item.replace()
