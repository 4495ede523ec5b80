"""What may fail while the rest goes on: named at once, with an exit code of 1 at the end."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..contracts import KViewError
from ..eval import DetectionEvaluation
from .console import note


def sentence(error: BaseException) -> str:
    """What an error says, with the notes that were added to it on its way."""
    return "; ".join([str(error), *getattr(error, "__notes__", [])])


class Failures:
    """The failures of a command that goes on after each of them."""

    def __init__(self) -> None:
        self.named: dict[str, str] = {}

    def add(self, name: str, reason: str) -> None:
        """Something failed, and is named at once."""
        self.named[name] = reason
        note(f"kview: {name}: {reason}")

    def add_detectors(self, where: str, evaluation: DetectionEvaluation) -> None:
        """The detectors that raised while something was scored."""
        for name, reason in evaluation.failures.items():
            self.add(f"{name} on {where}", reason)

    @contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Whatever is raised inside is a failure of `name`, and ends the block only."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  (whatever one raises, the others go on)
            known = isinstance(error, KViewError | OSError)
            self.add(name, sentence(error) if known else f"{type(error).__name__}: {error}")

    def end(self) -> None:
        """Ends the program with 1 where something failed."""
        if self.named:
            note(f"kview: failed: {', '.join(self.named)}; the rest is done")
            sys.exit(1)
