"""`StoreFamily`: what kview asks of a family of stores, its own and other packages' alike."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .layout.damage import Damage, Progress
from .layout.files import Files
from .part import StorePart


@dataclass(frozen=True, slots=True)
class StoreFamily:
    """A family of stores: how one is told from others, and who reads and verifies it.

    All three functions take a store's files and raise a StoreError for what is wrong with them.

    Attributes:
        name: the family's name.
        recognises: whether the files are a store of this family.
        open: makes a part of them.
        verify: finds all damage in them, and tells how many rows of how many it has seen.
        keeps_label_files: its stores have a `generation.jsonl` and an `eval_results.json` of their
            own, which do not go together by position as label files do: labels are what `open`
            says.

    Examples:
        >>> from kview.data import StoreFamily, StorePart
        >>> def open_mine(files) -> StorePart: ...
        >>> mine = StoreFamily(
        ...     name="mine",
        ...     recognises=lambda files: files.exists("mine.json"),
        ...     open=open_mine,
        ...     verify=lambda files, progress: iter(()),
        ... )
    """

    name: str
    recognises: Callable[[Files], bool]
    open: Callable[[Files], StorePart]
    verify: Callable[[Files, Progress], Iterator[Damage]]
    keeps_label_files: bool = False
