"""`@boundary`: one table of axes over a call, contracts among the arguments checked again."""

import functools
import inspect
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any, Self

import pytest
import torch
from jaxtyping import Float, Int, jaxtyped
from torch import Tensor

from kview.contracts import (
    ContractError,
    EmbeddingBatch,
    KViewBatch,
    KViewItem,
    KViewSource,
    ZViews,
    boundary,
    checks,
)
from kview.contracts.boundaries import BOUNDARIES
from kview.contracts.checking.axes import AtLeast, Len


def lines(error: pytest.ExceptionInfo[ContractError]) -> list[str]:
    return str(error.value).splitlines()


@boundary
def encode(batch: KViewBatch, weight: Float[Tensor, "H D"]) -> ZViews:
    """An encoder in one line."""
    return batch.views_activations.mean(2) @ weight


@boundary
def broken(batch: KViewBatch) -> ZViews:
    """Loses a view."""
    return batch.views_activations.mean(2)[:, 1:]


@boundary
def collate(items: Sequence[KViewItem]) -> KViewBatch | None:
    """Takes samples."""
    return None


@boundary
def merge(batches: Sequence[KViewBatch]) -> int:
    """Takes batches of any sizes."""
    return sum(map(len, batches))


class Fitted:
    """Methods of every kind."""

    @boundary
    def fit(self, reference: EmbeddingBatch) -> Self:
        return self

    @classmethod
    @boundary
    def make(cls, batch: KViewBatch) -> "Fitted":
        return cls()

    @staticmethod
    @boundary
    def count(batch: KViewBatch) -> int:
        return len(batch)


def test_a_valid_call_passes_through(batch: KViewBatch) -> None:
    assert encode(batch, torch.ones(6, 2)).shape == (3, 4, 2)
    assert encode(batch=batch, weight=torch.ones(6, 2)).shape == (3, 4, 2)


def test_a_batch_is_tied_to_the_other_arguments(batch: KViewBatch) -> None:
    with pytest.raises(ContractError) as error:
        encode(batch, torch.ones(7, 2))
    assert lines(error)[0].endswith("test_boundaries.encode(...) breaks 1 rule of its contract:")
    assert lines(error)[1] == (
        "  - axis H: expected one size, got 6 in batch.views_activations; 7 in weight"
    )


def test_a_batch_is_tied_to_the_result(batch: KViewBatch) -> None:
    with pytest.raises(ContractError) as error:
        broken(batch)
    assert lines(error)[1] == (
        "  - axis K: expected one size, got 4 in batch.views_activations, batch.view_indices; "
        "3 in return"
    )


def test_a_batch_built_unchecked_is_refused(batch: KViewBatch) -> None:
    with checks("off"):
        bad = batch.replace(halu=torch.zeros(4), hashkey=["a", "b", ""])
        assert encode(bad, torch.ones(6, 2)).shape == (3, 4, 2)
    with pytest.raises(ContractError) as error:
        encode(bad, torch.ones(6, 2))
    assert {v.rule for v in error.value.violations} == {"empty hashkey", "axis B"}


def test_a_batch_changed_in_place_is_refused(batch: KViewBatch) -> None:
    batch.hashkey.pop()
    batch.halu.fill_(3)
    with pytest.raises(ContractError) as error:
        encode(batch, torch.ones(6, 2))
    assert {v.rule for v in error.value.violations} == {"label", "axis B"}


def test_a_dict_is_answered_with_the_way_out(batch: KViewBatch) -> None:
    with pytest.raises(ContractError, match=r"KViewBatch\.from_dict\(\.\.\.\) builds one"):
        encode(dict(batch), torch.ones(6, 2))  # pyright: ignore[reportArgumentType]


def test_all_arguments_are_in_one_report(batch: KViewBatch) -> None:
    with pytest.raises(ContractError) as error:
        encode(dict(batch), torch.ones(6, 2, dtype=torch.long))  # pyright: ignore
    assert [v.fields for v in error.value.violations] == [("batch",), ("weight",)]


def test_samples_in_a_sequence_share_their_axes(batch: KViewBatch) -> None:
    items = batch.unbatch()
    collate(items)
    short = items[1].replace(views_activations=torch.zeros(4, 2, 6), token_mask=None)
    with pytest.raises(ContractError) as error:
        collate([items[0], short, items[2]])
    assert "axis T: expected one size, got 5 in items[0].views_activations" in str(error.value)
    assert "2 in items[1].views_activations" in str(error.value)


def test_a_result_with_log_probabilities_may_follow_from_samples_with_them(
    batch: KViewBatch,
) -> None:
    @boundary
    def back(items: list[KViewItem]) -> KViewBatch:
        return batch

    assert back(batch.unbatch()) is batch


def test_batches_in_a_sequence_have_sizes_of_their_own(batch: KViewBatch) -> None:
    assert merge([batch, _first(batch)]) == 4
    with checks("off"):
        bad = batch.replace(halu=torch.zeros(4))
    with pytest.raises(ContractError) as error:
        merge([_first(batch), bad])
    assert [v.rule for v in error.value.violations] == ["axis B of batches[1]"]


def test_a_batch_in_the_result_has_sizes_of_its_own(batch: KViewBatch) -> None:
    @boundary
    def keep_first(batch: KViewBatch, weight: Float[Tensor, " B"]) -> KViewBatch:
        return _first(batch)

    @boundary
    def split(batch: KViewBatch) -> tuple[KViewBatch, KViewBatch]:
        return _first(batch), batch

    assert len(keep_first(batch, torch.ones(3))) == 1
    assert len(split(batch)) == 2
    with pytest.raises(ContractError, match="axis B: expected one size"):
        keep_first(batch, torch.ones(4))


def test_two_batches_have_sizes_of_their_own(batch: KViewBatch) -> None:
    @boundary
    def compare(reference: KViewBatch, other: KViewBatch, weight: Float[Tensor, " D"]) -> None: ...

    compare(batch, _first(batch), torch.ones(3))
    with checks("off"):
        bad = batch.replace(halu=torch.zeros(4))
    with pytest.raises(ContractError) as error:
        compare(_first(batch), bad, torch.ones(3))
    assert [v.rule for v in error.value.violations] == ["axis B of other"]


def test_batches_given_by_star_are_checked(batch: KViewBatch) -> None:
    @boundary
    def total(*batches: KViewBatch, **names: str) -> int:
        return sum(map(len, batches))

    assert total(batch, _first(batch), name="a") == 4
    assert total() == 0
    with pytest.raises(ContractError, match=r"batches\[1\]: type: expected KViewBatch, got dict"):
        total(batch, {})  # pyright: ignore[reportArgumentType]


def _first(batch: KViewBatch) -> KViewBatch:
    return KViewBatch(
        hashkey=batch.hashkey[:1],
        halu=batch.halu[:1],
        views_activations=batch.views_activations[:1],
        input_length=batch.input_length[:1],
    )


def test_every_element_of_a_list_is_looked_at() -> None:
    @boundary
    def takes(names: list[str], xs: list[Float[Tensor, "T H"]]) -> None: ...

    takes(["a"] * 100, [torch.zeros(2, 3)] * 100)
    for at in range(0, 100, 7):
        names, xs = ["a"] * 100, [torch.zeros(2, 3)] * 100
        names[at], xs[at] = None, torch.zeros(2, 4)  # pyright: ignore
        with pytest.raises(ContractError) as error:
            takes(names, xs)
        assert f"names[{at}]" in str(error.value)
        assert f"4 in xs[{at}]" in str(error.value)


def test_a_union_of_a_list_and_a_contract_is_read_as_either(batch: KViewBatch) -> None:
    @boundary
    def takes(data: Sequence[KViewItem] | KViewBatch | None) -> None: ...

    for valid in (batch, batch.unbatch(), None):
        takes(valid)
    with pytest.raises(ContractError, match=r"data\[1\]: type: expected KViewItem, got 3"):
        takes([batch.unbatch()[0], 3])  # pyright: ignore
    batch.hashkey.pop()
    with pytest.raises(ContractError, match=r"2 in data\.hashkey"):
        takes(batch)


def test_a_tuple_is_looked_through(batch: KViewBatch) -> None:
    @boundary
    def gives(batch: KViewBatch, z: Any) -> tuple[KViewBatch, Float[Tensor, "B K D"] | None]:
        return batch, z

    gives(batch, torch.zeros(3, 4, 2))
    gives(batch, None)
    with pytest.raises(ContractError) as error:
        gives(batch, torch.zeros(3, 5, 2))
    assert "5 in return[1]" in str(error.value)


def test_a_contract_where_it_cannot_be_seen_is_refused_at_the_first_call() -> None:
    @boundary
    def takes(batches: dict[str, KViewBatch]) -> None: ...

    with pytest.raises(TypeError, match="hides a contract where it cannot be checked"):
        takes({})


def test_an_annotation_that_only_the_type_checker_knows_is_refused_at_the_first_call() -> None:
    @boundary
    def takes(x: "Unknown") -> None: ...  # noqa: F821  # pyright: ignore

    with pytest.raises(TypeError, match=r"'Unknown' is not defined; import it outside of TYPE_CH"):
        takes(1)


def test_markers_work_on_arguments() -> None:
    @boundary
    def takes(
        z: Annotated[Float[Tensor, "B D"], AtLeast(B=2)],
        names: Annotated[list[str], Len("B")] | None = None,
        ids: Int[Tensor, " B"] | None = None,
    ) -> None: ...

    takes(torch.zeros(2, 3), ["a", "b"], torch.zeros(2, dtype=torch.long))
    takes(torch.zeros(2, 3))
    with pytest.raises(ContractError, match="expected B >= 2, got B = 1"):
        takes(torch.zeros(1, 3))
    with pytest.raises(ContractError, match="axis B: expected one size, got 2 in z; 1 in names"):
        takes(torch.zeros(2, 3), ["a"])


def test_an_int_will_do_as_a_float_and_a_bool_will_not() -> None:
    @boundary
    def scale(
        temperature: float,
        weight: float | None = None,
        steps: Sequence[float] = (),
        pair: tuple[float, int] = (0.5, 1),
        by_name: dict[str, float] | None = None,
    ) -> float:
        return temperature

    assert scale(1) == 1
    assert scale(1, 2, [1, 0.5], (1, 1), {"a": 1}) == 1
    with pytest.raises(ContractError) as error:
        scale(True, True, [1, True], (True, 1), {"a": True})
    assert [v.fields for v in error.value.violations] == [
        ("temperature",),
        ("weight",),
        ("steps[1]",),
        ("pair[0]",),
        ("by_name",),
    ]
    assert str(error.value.violations[0]) == "temperature: type: expected float, got True"


def test_methods_classmethods_and_self_are_fine(batch: KViewBatch) -> None:
    assert isinstance(Fitted.make(batch).fit(EmbeddingBatch(z_views=torch.ones(1, 2, 3))), Fitted)
    assert Fitted.count(batch) == 3


def test_a_protocol_is_left_alone() -> None:
    @boundary
    def takes(source: KViewSource, x: Float[Tensor, " N"]) -> None: ...

    takes(object(), torch.zeros(2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ContractError):
        takes(object(), torch.zeros(2, 2))  # pyright: ignore[reportArgumentType]


def test_generators_and_coroutines_are_refused() -> None:
    def generator(batch: KViewBatch) -> Iterator[int]:
        yield 1

    async def coroutine(batch: KViewBatch) -> None: ...

    async def both(batch: KViewBatch) -> AsyncIterator[int]:
        yield 1

    for function in (generator, coroutine, both):
        with pytest.raises(TypeError, match="put @boundary on the function that makes each value"):
            boundary(function)


def test_what_is_no_function_is_refused_when_it_is_decorated() -> None:
    class Callable:
        def __call__(self, batch: KViewBatch) -> None: ...

    for thing in (functools.partial(encode, weight=torch.ones(6, 2)), Callable(), Callable, 3):
        with pytest.raises(TypeError, match="is no function with annotations of its own; put @bou"):
            boundary(thing)  # type: ignore[arg-type]


def test_a_wrong_call_is_pythons_own_type_error(batch: KViewBatch) -> None:
    with pytest.raises(TypeError, match="weight"):
        encode(batch)  # pyright: ignore[reportCallIssue]


def test_errors_of_the_function_pass_through_and_leave_no_table_behind(batch: KViewBatch) -> None:
    @boundary
    def fails(x: Float[Tensor, " B"]) -> None:
        raise KeyError("own")

    for size in (2, 3):
        with pytest.raises(KeyError, match="own"):
            fails(torch.zeros(size))


def test_name_and_signature_are_kept() -> None:
    assert encode.__name__ == "encode"
    assert encode.__doc__ == "An encoder in one line."
    assert list(inspect.signature(encode).parameters) == ["batch", "weight"]


def test_boundaries_are_registered_by_name() -> None:
    assert BOUNDARIES[f"{__name__}.encode"] is encode
    assert "kview.contracts.views.restore_views" in BOUNDARIES


def test_checks_leave_pythons_random_state_alone(batch: KViewBatch) -> None:
    before = random.getstate()
    encode(batch.replace(), torch.ones(6, 2))
    collate(batch.unbatch())
    assert random.getstate() == before


def test_it_lives_inside_somebody_elses_jaxtyped_function(batch: KViewBatch) -> None:
    from beartype import beartype

    @jaxtyped(typechecker=beartype)
    def outer(x: Float[Tensor, "B D"], batch: KViewBatch) -> Float[Tensor, "B D"]:
        encode(batch, torch.ones(6, 2))  # B=3 in there, 5 out here
        return x

    assert outer(torch.zeros(5, 1), batch).shape == (5, 1)


def test_a_string_is_no_sequence_of_samples() -> None:
    @boundary
    def count(items: Sequence[KViewItem]) -> int:
        return len(items)

    for letters in ("", "abc"):
        with pytest.raises(ContractError, match="items: type: expected Sequence of KViewItem, got"):
            count(letters)  # type: ignore[arg-type]


def test_a_class_may_be_defined_again_under_its_name() -> None:
    """As by a notebook's cell that is run twice: beartype takes tuples of the two for one hint."""

    def cell() -> object:
        class Result:
            pass

        @boundary
        def again() -> Result:
            return Result()

        return again()

    assert type(cell()) is not type(cell())
