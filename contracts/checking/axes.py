"""Axes: markers that put a size rule next to an annotation, and the table that binds letters."""

from contextlib import AbstractContextManager

from jaxtyping import Shaped, jaxtyped  # pyright: ignore[reportUnknownVariableType]


class Length:
    """A list's length in the clothes of a one-dimensional array, so that jaxtyping can bind it."""

    __slots__ = ("shape",)
    dtype = "length"

    def __init__(self, length: int) -> None:
        self.shape = (length,)


class Len:
    """The list's length is the named axis: `Annotated[list[str], Len("B")]`."""

    def __init__(self, axis: str) -> None:
        self.axis = axis
        self.array: type = Shaped[Length, axis]  # pyright: ignore[reportAttributeAccessIssue]


class AtLeast:
    """The smallest size of an axis: `Annotated[Float[Tensor, "B K D"], AtLeast(K=2)]`."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = sizes


def one_table() -> AbstractContextManager[None]:
    """A context in which one axis letter stands for one size, with nothing bound yet."""
    return jaxtyped("context")
