"""Every known fault is refused, and the field that has it is named."""

import dataclasses
from typing import Any, get_args

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kview.contracts import ContractError, KViewBatch, checks
from kview.contracts.faults import FAULTS, Fault, InvalidBatch
from kview.contracts.levels import Level
from kview.contracts.strategies import invalid_kview_batches


def named(error: ContractError) -> set[str]:
    """The fields that an error names, with those they are inside of."""
    fields = {f for v in error.violations for f in v.fields}
    return fields | {f.partition(mark)[0] for f in fields for mark in ".["}


def top(field: str) -> str:
    """`logprobs` of `logprobs.mask`."""
    return field.partition(".")[0]


def test_there_are_at_least_forty_faults_with_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 40
    fields = {top(fault.field) for fault in FAULTS}
    assert fields == {field.name for field in dataclasses.fields(KViewBatch)}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@settings(max_examples=max(30, settings().max_examples // 2))
@given(data=st.data())
def test_a_fault_is_refused_at_construction_with_its_field_named(
    fault: Fault, data: st.DataObject
) -> None:
    invalid = data.draw(invalid_kview_batches(faults=[fault]))
    for level in ("shape", "full"):
        if level == "full" or invalid.level == "shape":
            with checks(level), pytest.raises(ContractError) as error:
                KViewBatch(**dict(invalid.batch))
            assert invalid.field in named(error.value)
            assert invalid.field in str(error.value)
        else:
            with checks(level):
                KViewBatch(**dict(invalid.batch))


@given(invalid=invalid_kview_batches())
def test_a_single_fault_is_blamed_on_its_field_alone(invalid: InvalidBatch) -> None:
    """Another field is named only on an axis where its size disagrees, or beside on a device."""
    with checks("full"), pytest.raises(ContractError) as error:
        KViewBatch(**dict(invalid.batch))
    for violation in error.value.violations:
        assert invalid.field in named(ContractError("", (violation,)))


NOT_OF_SIZE = [f for f in FAULTS if not any(w in f.name for w in ("too", "one view", ": no "))]
"""A wrong size shows against another field's, which may be the other fault."""


@given(
    first=invalid_kview_batches(faults=NOT_OF_SIZE, max_size=3), second=st.sampled_from(NOT_OF_SIZE)
)
def test_two_faults_at_once_are_both_reported(first: InvalidBatch, second: Fault) -> None:
    labelled = {"hashkey": "halu"}  # the fault of two labels reads both
    one, other = (labelled.get(f, f) for f in (top(first.field), top(second.field)))
    assume(one != other)
    with checks("full"), pytest.raises(ContractError) as error:
        KViewBatch(**{**dict(first.batch), **second.spoil(first.batch)})
    assert {first.field, second.field} <= named(error.value)


SHAPES: st.SearchStrategy[tuple[int, ...]] = st.lists(st.integers(0, 3), max_size=5).map(tuple)
TENSORS = st.builds(
    lambda shape, dtype: torch.zeros(shape).to(dtype),
    SHAPES,
    st.sampled_from([torch.float32, torch.float16, torch.int64, torch.int32, torch.bool]),
)
ANYTHING: st.SearchStrategy[Any] = st.one_of(
    TENSORS,
    st.none(),
    st.booleans(),
    st.integers(-1, 3),
    st.text(max_size=2),
    st.lists(st.text(max_size=1), max_size=3),
    st.lists(TENSORS, max_size=2),
    st.dictionaries(st.text(max_size=1), st.integers(), max_size=1),
)


@given(
    fields=st.fixed_dictionaries({f.name: ANYTHING for f in dataclasses.fields(KViewBatch)}),
    level=st.sampled_from(get_args(Level)),
)
def test_anything_at_all_gives_a_batch_or_a_report(fields: dict[str, Any], level: Level) -> None:
    with checks(level):
        try:
            KViewBatch(**fields)
        except ContractError as error:
            refused = error
        else:
            return
    assert refused.violations
    assert level != "off"
