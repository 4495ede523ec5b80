"""Values of every odd kind that somebody may put into a contract, by name."""

import collections
import functools
import itertools
import types
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from kview.contracts import KViewBatch, KViewItem


class Refusing(Tensor):
    """A tensor that refuses whatever is asked of it."""

    @classmethod
    def __torch_function__(cls, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ask me nothing")


class Wrapped(Tensor):
    """A tensor with a shape and no values of its own; it computes nothing."""

    @staticmethod
    def __new__(cls, x: Tensor) -> "Wrapped":
        return Tensor._make_wrapper_subclass(cls, x.shape, dtype=x.dtype)

    @classmethod
    def __torch_dispatch__(cls, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("I compute nothing")


class Lazy:
    """An array of another library whose file is closed."""

    dtype = np.dtype("float32")

    @property
    def shape(self) -> tuple[int, ...]:
        raise ValueError("the file is closed")


class Shapeless:
    """Something with a shape that is none."""

    shape, dtype, ndim = 3, "float32", None


class Liar:
    """It will not even say what it is."""

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise RuntimeError("no class")


class BrokenList(list[Any]):
    """A list that cannot be gone through."""

    def __iter__(self) -> Any:
        raise OSError("gone")


def _itself() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


def _dead() -> Any:
    return weakref.proxy(Lazy())


def _fake(x: Tensor, shape_env: ShapeEnv | None = None) -> Tensor:
    mode = FakeTensorMode(shape_env=shape_env, allow_non_fake_inputs=True)
    return mode.from_tensor(x, static_shapes=shape_env is None)


def _tensors(x: Tensor) -> dict[str, Callable[[], Any]]:
    """Odd kinds of one tensor."""
    row = torch.atleast_1d(x)
    return {
        "coo": x.to_sparse,
        "csr": row.reshape(len(row), -1).to_sparse_csr,
        "nested": lambda: torch.nested.nested_tensor([row, row]),
        "jagged": lambda: torch.nested.nested_tensor([row, row], layout=torch.jagged),
        "mkldnn": lambda: row.float().to_mkldnn(),
        "quantised": lambda: torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8),
        "meta": lambda: x.to("meta"),
        "fake": lambda: _fake(x),
        "symbolic": lambda: _fake(x, ShapeEnv()),
        "wrapped": lambda: Wrapped(x),
        "refusing": lambda: x.as_subclass(Refusing),
        "parameter": lambda: torch.nn.Parameter(x.float()),
        "expanded": lambda: x.flatten()[0].expand(x.shape),
        "conjugate": lambda: x.to(torch.complex64).conj(),
        "imaginary": lambda: x.to(torch.complex64).conj().imag,
        "empty": lambda: x[:0] if x.ndim else x,
        "array": x.numpy,
        "big-endian": lambda: x.numpy().astype(x.numpy().dtype.newbyteorder(">")),
        "masked array": lambda: np.ma.masked_array(x.numpy()),
        "object array": lambda: x.numpy().astype(object),
        "list": x.tolist,
    } | {
        str(dtype): functools.partial(_cast, x, dtype)
        for dtype in vars(torch).values()
        if isinstance(dtype, torch.dtype) and not str(dtype).startswith(("torch.q", "torch.bits"))
    }


def _cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The numbers as another dtype; bytes of that dtype where torch converts none to it."""
    try:
        return x.to(dtype)
    except (RuntimeError, NotImplementedError):
        return torch.zeros(x.shape, dtype=torch.uint8).view(dtype)


OTHERS: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "-1": lambda: -1,
    "a huge number": lambda: -(10**5000),
    "nan": lambda: float("nan"),
    "text": lambda: "a",
    "a lone surrogate": lambda: "\ud800",
    "bytes": lambda: b"a",
    "numpy's number": lambda: np.float32(1),
    "numpy's text": lambda: np.str_("a"),
    "structured": lambda: np.zeros(2, [("a", "i4")]),
    "dates": lambda: np.zeros(2, "M8[s]"),
    "uninitialised": torch.nn.UninitializedParameter,
    "lazy": Lazy,
    "shapeless": Shapeless,
    "liar": Liar,
    "dead": _dead,
    "list of itself": _itself,
    "broken list": lambda: BrokenList([1, 2]),
    "empty list": list,
    "list of odd things": lambda: [None, 1, Lazy(), b"a"],
    "dict": lambda: {"token_ids": 1},
    "set": lambda: {1, 2},
    "range": lambda: range(2),
    "deque": lambda: collections.deque(["a", "b"]),
    "generator": lambda: iter(["a"]),
    "endless": itertools.count,
    "class": lambda: KViewBatch,
    "module": lambda: types,
    "function": lambda: len,
    "object": object,
    "empty batch": lambda: object.__new__(KViewBatch),
    "empty item": lambda: object.__new__(KViewItem),
}


def odd_values(x: Tensor) -> dict[str, Callable[[], Any]]:
    """What makes each odd value, those made of `x` among them."""
    return {
        name: functools.partial(_quietly, make) for name, make in (_tensors(x) | OTHERS).items()
    }


def _quietly(make: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some kinds of tensors are prototypes, others deprecated
        return make()
