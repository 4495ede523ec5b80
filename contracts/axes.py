"""Markers that put a size rule next to a jaxtyping annotation, in `Annotated[...]`."""

from jaxtyping import Shaped


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
        self.hint = Shaped[Length, axis]


class AtLeast:
    """The smallest size of an axis: `Annotated[Float[Tensor, "B K D"], AtLeast(K=2)]`."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = sizes
