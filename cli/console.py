"""How commands speak: results on stdout, progress and errors on stderr."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from ..eval.progress import Progress


def is_first() -> bool:
    """Whether this is the only process, or the first of those that torchrun or Fabric started."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


out = Console(highlight=False, quiet=not is_first())
err = Console(stderr=True, highlight=False, quiet=not is_first())


def say(text: str) -> None:
    """A line on stdout, as it is."""
    out.print(text, markup=False, soft_wrap=True)


def note(text: str) -> None:
    """A line on stderr, as it is."""
    err.print(text, markup=False, soft_wrap=True)


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(value, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; the first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def progress_bar() -> Bars:
    """A bar on stderr for long work; silent where there is no terminal."""
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Bars on stderr, one for each thing that is done; none where there is no terminal."""
    with progress_bar() as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show
