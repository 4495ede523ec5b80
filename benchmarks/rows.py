"""What every benchmark prints: a JSON line per row, with its spread, its ratio and its reach."""

import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Compare = Literal["times as fast", "times as much", "more", "itself"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The measurements of one side: their median, the least and the most, and how many."""

    median: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    Attributes:
        what: what is measured.
        size: of the data.
        against: the peer.
        unit: of both sides: ms, us, s, MB.
        ours: the measurements of kview.
        theirs: the peer's; None where kview's own figure is held against the reach.
        compare: the figure: `times as fast` is theirs / ours, to be at least the reach; `times as
            much` is ours / theirs, `more` is ours - theirs, `itself` is ours, to be at most that.
        reach: what the figure is to reach; None for a row that only informs.
        figure: see `compare`.
        ok: whether it does.
    """

    what: str
    size: str
    against: str
    unit: str
    ours: Spread
    theirs: Spread | None
    compare: Compare
    reach: float | None
    figure: float
    ok: bool


def show(
    what: str,
    *,
    size: str = "",
    against: str = "",
    unit: str,
    ours: Sequence[float],
    theirs: Sequence[float] = (),
    compare: Compare = "times as fast",
    reach: float | None = None,
) -> bool:
    """Prints a row; False where it falls short."""
    us, them = spread(ours), spread(theirs) if theirs else None
    figure = figure_of(compare, us.median, them.median if them else 0.0)
    met = reach is None or (figure >= reach if compare == "times as fast" else figure <= reach)
    row = Row(
        what=what,
        size=size,
        against=against,
        unit=unit,
        ours=us,
        theirs=them,
        compare=compare,
        reach=reach,
        figure=float(f"{figure:.4g}"),
        ok=met,
    )
    print(json.dumps(dataclasses.asdict(row)), flush=True)
    return met


def spread(measured: Sequence[float]) -> Spread:
    """The median and the range of some measurements, in four digits."""
    low, median, high = (
        float(f"{value:.4g}")
        for value in (min(measured), statistics.median(measured), max(measured))
    )
    return Spread(median=median, low=low, high=high, rounds=len(measured))


def figure_of(compare: Compare, ours: float, theirs: float) -> float:
    """See `Row.compare`."""
    match compare:
        case "times as fast":
            return theirs / ours
        case "times as much":
            return ours / theirs
        case "more":
            return ours - theirs
        case "itself":
            return ours


def read(line: str) -> Row:
    """A row from its JSON line."""
    values = json.loads(line)
    for side in ("ours", "theirs"):
        values[side] = None if values[side] is None else Spread(**values[side])
    return Row(**values)
