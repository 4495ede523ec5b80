"""Arrays: what jaxtyping's annotations accept, and where a value differs from them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .outcome import outcome, words
from .report import Report


class Arrays:
    """The alternatives of an annotation that are arrays: `Float[Tensor, "B"] | Int[Tensor, "B"]`.

    Args:
        alternatives: jaxtyping's array types.
        minimum: smallest sizes by axis.
    """

    def __init__(self, alternatives: Sequence[Any], minimum: Mapping[str, int]) -> None:
        self.outside = tuple(alternatives)
        self.minimum = minimum
        self.words = " or ".join(map(_words, alternatives))
        self.classes = () if minimum else self.outside
        self.needs_look = bool(minimum)
        self._least = {
            array: [
                (at, minimum[dim.name])
                for dim, at in _places(array)
                if getattr(dim, "name", None) in minimum
            ]
            for array in alternatives
        }

    def owns(self, value: object) -> bool:
        """Whether it is an array of one of the libraries, of any dtype and shape."""
        return any(_is_array(a, value) for a in self.outside)

    def accepts(self, value: Any, nested: object) -> bool:
        """Whether no axis is too small."""
        array = self.outside[0] if len(self.outside) == 1 else self._typed(value)[0]
        return all(value.shape[at] >= least for at, least in self._least[array])

    def explain(self, report: Report, name: str, value: Any, nested: object) -> None:
        """Adds a wrong rank, dtype or size; puts the sizes of named axes on the table."""
        shape = outcome(lambda: tuple(value.shape))
        if isinstance(shape, Exception):  # as of nested tensors and uninitialised parameters
            report.refuse(name, "shape", f"; {words(shape)}")
            return
        ranked, typed = self._ranked(value), self._typed(value)
        if not ranked:
            report.refuse(name, "rank")
            return
        if not typed:
            report.refuse(name, "dtype")
        elif not any(_has_fixed_sizes(a, value) for a in typed):
            report.refuse(name, "size")
        for dim, size in _sizes((typed or ranked)[0], value):
            if not hasattr(dim, "name"):  # anonymous, fixed or symbolic
                continue
            report.put(f"*{dim.name}" if isinstance(size, tuple) else dim.name, name, size)
            least = self.minimum.get(dim.name, 0)
            if not isinstance(size, tuple) and size < least:
                expected, got = f"{dim.name} >= {least}", f"{dim.name} = {size}"
                report.add((name,), f"size of {dim.name}", expected, got)

    def _ranked(self, value: Any) -> list[Any]:
        """The alternatives that have the value's number of axes."""
        return [a for a in self.outside if _is_array(a, value) and _has_rank(a, len(value.shape))]

    def _typed(self, value: Any) -> list[Any]:
        """Those of them that have its dtype, too."""
        return [a for a in self._ranked(value) if isinstance(value, a.dtype[a.array_type, "..."])]


def _words(array: Any) -> str:
    """A jaxtyping annotation in words: `Float (B, K)`, `Float scalar`."""
    axes: list[str] = array.dim_str.split()
    shape = f"({', '.join(axes)}{',' * (len(axes) == 1)})" if axes else "scalar"
    return f"{array.__name__.partition('[')[0]} {shape}"


def _is_array(array: Any, value: object) -> bool:
    if array.array_type is Any:
        return hasattr(value, "shape") and hasattr(value, "dtype")
    return isinstance(value, array.array_type)


def _has_rank(array: Any, rank: int) -> bool:
    if array.index_variadic is None:
        return len(array.dims) == rank
    return len(array.dims) - 1 <= rank


def _has_fixed_sizes(array: Any, value: Any) -> bool:
    return all(getattr(dim, "size", size) == size for dim, size in _sizes(array, value))


def _sizes(array: Any, value: Any) -> Iterator[tuple[Any, int | tuple[int, ...]]]:
    """Each axis of an annotation with its size; what a variadic one stands for is one tuple."""
    shape = tuple(value.shape)
    return ((dim, shape[at]) for dim, at in _places(array))


def _places(array: Any) -> Iterator[tuple[Any, int | slice]]:
    """Each axis of an annotation with its place in a shape, from the end behind a variadic one."""
    last, variadic = len(array.dims) - 1, array.index_variadic
    for i, dim in enumerate(array.dims):
        if i == variadic:
            yield dim, slice(i, i - last or None)
        else:
            yield dim, i if variadic is None or i < variadic else i - last - 1
