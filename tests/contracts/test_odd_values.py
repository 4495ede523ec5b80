"""A contract meets any object with a report or by passing, never with a raw error."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from helpers.odd_values import odd_values
from kview.contracts import (
    Contract,
    ContractError,
    EmbeddingBatch,
    EmbeddingRecord,
    FlatViews,
    KViewBatch,
    KViewItem,
    ResponseLogprobs,
    boundary,
    checks,
)
from kview.contracts.levels import Level

LOGPROBS = ResponseLogprobs(
    token_ids=torch.tensor([[4, 5], [6, -1]]),
    token_logprobs=torch.tensor([[-0.1, -0.2], [-0.3, torch.nan]]),
    mask=torch.tensor([[True, True], [True, False]]),
    topk_token_ids=torch.zeros(2, 2, 3, dtype=torch.long),
    topk_logprobs=-torch.ones(2, 2, 3),
)
BATCH = KViewBatch(
    hashkey=["a", "b"],
    halu=torch.tensor([1.0, 0.0]),
    views_activations=torch.randn(2, 3, 2, 2),
    view_indices=torch.tensor([[0, 1, 2], [2, 4, 0]]),
    input_length=torch.tensor([1, 2]),
    token_mask=torch.ones(2, 2, dtype=torch.bool),
    logprobs=LOGPROBS,
)
EMBEDDINGS = EmbeddingBatch(z_views=torch.randn(2, 3, 4), hashkey=["a", "b"], halu=BATCH.halu)
VALID: list[Contract] = [
    BATCH,
    BATCH.unbatch()[0].replace(all_activations=[torch.randn(2, 2)]),
    BATCH.flatten(),
    LOGPROBS,
    EMBEDDINGS,
    next(EMBEDDINGS.records()),
]
FIELDS = [(valid, field.name) for valid in VALID for field in dataclasses.fields(valid)]
FLOATS = torch.tensor([1.0, 0.0])
ODD = odd_values(FLOATS)


def construct(valid: Contract, changes: dict[str, Any]) -> None:
    type(valid)(**{**dict(valid), **changes})


def from_dict(valid: Contract, changes: dict[str, Any]) -> None:
    type(valid).from_dict({**dict(valid), **changes})


def replace(valid: Contract, changes: dict[str, Any]) -> None:
    valid.replace(**changes)


def cross(valid: Contract, changes: dict[str, Any]) -> None:
    """Takes a contract that was built unchecked over a boundary."""
    with checks("off"):
        spoilt = type(valid)(**{**dict(valid), **changes})
    TAKES[type(valid)](spoilt, [spoilt])


def taker(kind: type[Contract]) -> Callable[..., None]:
    def takes(contract: Any, several: Any) -> None: ...

    takes.__annotations__ = {"contract": kind, "several": list[kind]}
    return boundary(takes)


TAKES = {type(valid): taker(type(valid)) for valid in VALID}
DOORS = [construct, from_dict, replace, cross]


def meets(action: Callable[[], object]) -> ContractError | None:
    """Passes, or gives the report; any other error is raised."""
    try:
        action()
    except ContractError as error:
        return error
    return None


def odd_likeness(x: object) -> dict[str, Callable[[], Any]]:
    """Odd values, which are of a field's own numbers where it holds a tensor."""
    return odd_values(x) if isinstance(x, Tensor) else ODD


@pytest.mark.parametrize(
    ("valid", "field"), FIELDS, ids=[f"{type(valid).__name__}.{field}" for valid, field in FIELDS]
)
def test_each_odd_value_in_each_field_is_met(valid: Contract, field: str) -> None:
    for name, make in odd_likeness(valid[field]).items():
        error = meets(functools.partial(construct, valid, {field: make()}))
        if error is not None:
            assert any(f.startswith(field) for v in error.violations for f in v.fields), name


@settings(max_examples=max(150, settings().max_examples))
@given(data=st.data(), door=st.sampled_from(DOORS), level=st.sampled_from(get_args(Level)))
def test_any_odd_values_at_any_door_are_met(
    data: st.DataObject, door: Callable[[Contract, dict[str, Any]], None], level: Level
) -> None:
    valid = data.draw(st.sampled_from(VALID))
    names = data.draw(st.lists(st.sampled_from(list(valid)), min_size=1, max_size=3, unique=True))
    changes: dict[str, Any] = {}
    for name in names:
        odd = odd_likeness(valid[name])
        makers = data.draw(st.lists(st.sampled_from(sorted(odd)), min_size=1, max_size=2))
        made = [odd[maker]() for maker in makers]
        changes[name] = made if len(made) == 2 else made[0]
    with checks(level):
        error = meets(functools.partial(door, valid, changes))
    assert error is None or (error.violations and level != "off")


@pytest.mark.parametrize("kind", ["coo", "csr", "nested", "jagged", "mkldnn"])
@pytest.mark.parametrize("field", ["halu", "views_activations"])
def test_tensors_without_a_place_for_every_value_are_refused_by_name(kind: str, field: str) -> None:
    odd = odd_values(BATCH[field])[kind]()
    error = meets(functools.partial(construct, BATCH, {field: odd}))
    assert error is not None
    assert {f for v in error.violations for f in v.fields if v.rule != "axis B"} == {field}


@pytest.mark.parametrize("level", ["shape", "full"])
def test_fake_tensors_pass_as_far_as_they_can_be_looked_at(level: Level) -> None:
    mode = FakeTensorMode()
    with checks(level):
        fake = BATCH.map_tensors(mode.from_tensor)
        assert KViewBatch(**dict(fake)).views_activations.shape == (2, 3, 2, 2)
        with pytest.raises(ContractError, match="axis B"):
            fake.replace(halu=mode.from_tensor(torch.zeros(3)))
        with pytest.raises(ContractError, match="halu: label: expected 1, 0 or -1, got 2"):
            fake.replace(halu=torch.tensor([2.0, 0.0]))  # this one has values


@pytest.mark.parametrize("level", ["shape", "full"])
def test_items_can_be_built_inside_of_vmap(level: Level) -> None:
    def mean_of_views(x: Tensor, indices: Tensor) -> Tensor:
        item = KViewItem(
            hashkey="a",
            halu=torch.tensor(1.0),
            views_activations=x,
            view_indices=indices,
            input_length=1,
        )
        return item.views_activations.mean(0)

    assert BATCH.view_indices is not None
    with checks(level):
        means = torch.func.vmap(mean_of_views)(BATCH.views_activations, BATCH.view_indices)
    torch.testing.assert_close(means, BATCH.views_activations.mean(1))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_activations_are_read_at_full(dtype: torch.dtype) -> None:
    x = torch.ones(2, 3, 2, 2)
    with checks("full"):
        assert BATCH.replace(views_activations=x.to(dtype)).views_activations.dtype == dtype
        x[1, 2, 0, 1] = torch.nan
        with pytest.raises(ContractError, match=r"1 NaN or infinite, the first at \(1, 2, 0, 1\)"):
            BATCH.replace(views_activations=x.to(dtype))


def test_an_array_that_cannot_be_read_says_why() -> None:
    error = meets(functools.partial(construct, BATCH, {"halu": ODD["uninitialised"]()}))
    assert error is not None
    assert str(error.violations[0]).startswith(
        "halu: shape: expected Float (B,), got UninitializedParameter; RuntimeError: Can't access"
    )


def test_a_contract_made_without_its_constructor_says_what_it_lacks() -> None:
    with pytest.raises(ContractError) as error:
        TAKES[EmbeddingRecord](object.__new__(EmbeddingRecord), [])
    assert str(error.value.violations[0]) == (
        "contract.z_views: missing: expected Float (K, D), got no value"
    )
    assert len(error.value.violations) == 3


@pytest.mark.parametrize("thing", [None, 3, "abc", ["hashkey"], torch.zeros(2), object(), b""])
def test_what_is_no_mapping_is_refused_in_one_line(thing: Any) -> None:
    with pytest.raises(ContractError, match=r"^FlatViews\.from_dict: mapping: type: expected"):
        FlatViews.from_dict(thing)


def test_a_contract_is_a_mapping_of_its_fields() -> None:
    assert KViewBatch.from_dict(BATCH).equals(BATCH)  # pyright: ignore[reportArgumentType]
