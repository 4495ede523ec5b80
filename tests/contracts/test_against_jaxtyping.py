"""Shapes and dtypes: our fast check, our report and `@jaxtyped(typechecker=beartype)` agree."""

from collections.abc import Callable
from dataclasses import make_dataclass
from typing import Any

import jaxtyping
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Bool, Float, Int, Shaped, jaxtyped
from torch import Tensor

from kview.contracts import Contract, ContractError, boundary

FIELDS: dict[str, Any] = {
    "x": Float[Tensor, "B K H"],
    "index": Int[Tensor, "B K"] | None,  # pyright: ignore[reportOperatorIssue]
    "label": Float[Tensor, " B"] | Bool[Tensor, " B"] | Int[Tensor, ""],
    "tail": Shaped[Tensor, "... H"],
    "lead": Float[Tensor, " B *rest"],
    "other": Float[Tensor, "*rest K"],
    "fixed": Float[Tensor, "2 _"],
    "name": str | None,
    "sizes": tuple[int, Float[Tensor, " H"]],
}
Theirs = jaxtyped(typechecker=beartype)(
    make_dataclass("Theirs", FIELDS.items(), frozen=True, kw_only=True)
)
Ours = make_dataclass(
    "Ours",
    FIELDS.items(),
    bases=(Contract,),
    frozen=True,
    slots=True,
    kw_only=True,
    eq=False,
    repr=False,
)
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.bool]
DTYPES += [torch.uint8, torch.complex64]
ANY_TENSOR = st.builds(
    lambda shape, dtype: torch.zeros(shape).to(dtype),
    st.lists(st.integers(0, 3), max_size=4).map(tuple),
    st.sampled_from(DTYPES),
)
ANYTHING = ANY_TENSOR | st.none() | st.integers(0, 2) | st.text(max_size=1)


@st.composite
def fields(draw: st.DrawFn) -> dict[str, Any]:
    """Valid fields, of which up to two are exchanged for anything or get another size."""
    B, K, H, R = (draw(st.integers(0, 3)) for _ in "BKHR")
    label = draw(st.sampled_from([torch.zeros(B), torch.zeros(B).bool(), torch.tensor(1)]))
    valid: dict[str, Any] = {
        "x": torch.zeros(B, K, H),
        "index": draw(st.sampled_from([None, torch.zeros(B, K, dtype=torch.int32)])),
        "label": label,
        "tail": torch.zeros(*([1] * draw(st.integers(0, 2))), H).bool(),
        "lead": torch.zeros(B, R, 2),
        "other": torch.zeros(R, 2, K),
        "fixed": torch.zeros(2, draw(st.integers(0, 2))),
        "name": draw(st.sampled_from([None, "a"])),
        "sizes": (3, torch.zeros(H).half()),
    }
    for name in draw(st.lists(st.sampled_from(sorted(valid)), max_size=2)):
        value = valid[name]
        grown = st.just(value)
        if isinstance(value, Tensor) and value.ndim:
            axis = draw(st.integers(0, value.ndim - 1))
            grown = st.just(
                torch.cat([value, value.narrow(axis, 0, min(1, value.shape[axis]))], axis)
            )
        valid[name] = draw(ANYTHING | grown)
    return valid


def refused(action: Callable[..., Any], **arguments: Any) -> bool:
    try:
        action(**arguments)
    except ContractError as error:
        return bool(error.violations)  # refused without a reason is not refused
    except jaxtyping.TypeCheckError:
        return True
    return False


@settings(max_examples=300)
@given(fields())
def test_a_contract_refuses_what_a_jaxtyped_dataclass_refuses(values: dict[str, Any]) -> None:
    assert refused(Ours, **values) == refused(Theirs, **values)


def product(
    x: Float[Tensor, "B H"], w: Float[Tensor, "H D"] | None, n: int, y: Any
) -> Float[Tensor, "B D"] | None:
    return y


@settings(max_examples=300)
@given(
    x=st.sampled_from([torch.zeros(2, 3), torch.zeros(2, 2), torch.zeros(2)]) | ANYTHING,
    w=st.sampled_from([torch.zeros(3, 2), torch.zeros(2, 2), None]) | ANYTHING,
    n=st.integers(0, 1) | st.none(),
    y=st.sampled_from([torch.zeros(2, 2), torch.zeros(2, 3), torch.zeros(3, 2), None]),
)
def test_a_boundary_refuses_what_a_jaxtyped_function_refuses(
    x: Any, w: Any, n: Any, y: Any
) -> None:
    ours, theirs = boundary(product), jaxtyped(product, typechecker=beartype)
    assert refused(ours, x=x, w=w, n=n, y=y) == refused(theirs, x=x, w=w, n=n, y=y)
