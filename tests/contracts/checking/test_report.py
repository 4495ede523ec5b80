"""What an error says, word for word."""

import pickle
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor

from kview.contracts import (
    ContractError,
    EmbeddingBatch,
    KViewBatch,
    KViewError,
    KViewItem,
    ResponseLogprobs,
    Violation,
    boundary,
    checks,
)


def refusal(cls: type, fields: dict[str, Any], level: Any = "shape") -> ContractError:
    with checks(level), pytest.raises(ContractError) as error:
        cls(**fields)
    return error.value


def test_one_report_has_everything_that_is_wrong(batch: KViewBatch) -> None:
    error = refusal(
        KViewBatch,
        {
            **dict(batch),
            "hashkey": ["a", "b"],
            "halu": torch.tensor([1, 0, 1]),
            "views_activations": torch.zeros(3, 1, 5, 6),
            "view_indices": torch.tensor([[0, 0], [1, 2], [3, 3]]),
            "input_length": torch.tensor([4, -1, -7]),
            "token_mask": torch.tensor([[True] * 5, [False] * 5, [True] * 5]),
            "logprobs": None,
        },
    )
    assert str(error) == (
        "KViewBatch breaks 7 rules of its contract:\n"
        "  - halu: dtype: expected Float (B,), got int64 (3,)\n"
        "  - views_activations: size of K: expected K >= 2, got K = 1\n"
        "  - input_length: negative count: expected numbers of tokens >= 0, got -1 at 1, -7 at 2\n"
        "  - view_indices: repeated view: expected distinct layers within a sample, or "
        "views_repeat=True, got [0, 0] at 0, [3, 3] at 2\n"
        "  - token_mask: empty mask: expected at least one real token per sample, "
        "got no token at 1\n"
        "  - axis B: expected one size, got 3 in halu, views_activations, view_indices, "
        "input_length, token_mask; 2 in hashkey\n"
        "  - axis K: expected one size, got 1 in views_activations; 2 in view_indices\n"
        "sizes by axis:\n"
        "  B: hashkey=2, halu=3, views_activations=3, view_indices=3, input_length=3, "
        "token_mask=3\n"
        "  K: views_activations=1, view_indices=2\n"
        "  T: 5\n"
        "  H: 6"
    )
    assert error.violations[1] == Violation(("views_activations",), "size of K", "K >= 2", "K = 1")
    assert error.violations[-1].fields == ("views_activations", "view_indices")
    assert error.violations[-1].rule == "axis K"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"hashkey": ("a", "b", "c")},
            "hashkey: type: expected list of str of length B, got tuple of 3 str",
        ),
        ({"hashkey": "abc"}, "hashkey: type: expected list of str of length B, got str"),
        ({"hashkey": ["a", 2, "c"]}, "hashkey[1]: type: expected str, got 2"),
        (
            {"hashkey": ["a", "", "c"]},
            "hashkey: empty hashkey: expected non-empty strings, got '' at 1",
        ),
        ({"halu": [1.0, 0.0, 1.0]}, "halu: type: expected Float (B,), got list of 3 float"),
        ({"halu": torch.zeros(3, 1)}, "halu: rank: expected Float (B,), got float32 (3, 1)"),
        ({"halu": torch.zeros(())}, "halu: rank: expected Float (B,), got float32 scalar"),
        (
            {"halu": torch.tensor([2.0, 0.0, torch.nan])},
            "halu: label: expected 1, 0 or -1, got 2.0 at 0, nan at 2",
        ),
        (
            {"views_activations": np.zeros((3, 4, 5, 6), "f2")},
            "views_activations: type: expected Float (B, K, T, H), "
            "got ndarray float16 (3, 4, 5, 6)",
        ),
        (
            {"view_indices": torch.zeros(3, 4, dtype=torch.uint8)},
            "view_indices: dtype: expected Int (B, K) or None, got uint8 (3, 4)",
        ),
        (
            {"view_indices": torch.tensor([[0, 1, 2, 3]] * 2 + [[0, -1, 2, -2]])},
            "view_indices: negative index: expected positions >= 0, got -1 at (2, 1), -2 at (2, 3)",
        ),
        (
            {"logprobs": {"token_ids": 1}},
            "logprobs: type: expected ResponseLogprobs or None, got dict; "
            "ResponseLogprobs.from_dict(...) builds one from a dict",
        ),
        (
            {"halu": torch.zeros(3, device="meta")},
            "device: expected one device for all tensors, got halu on meta; views_activations, "
            "view_indices, input_length, token_mask, logprobs on cpu",
        ),
        (
            {"token_mask": torch.ones(3, 4, dtype=torch.bool)},
            "axis T: expected one size, got 5 in views_activations; 4 in token_mask",
        ),
        ({"views_repeat": 1}, "views_repeat: type: expected bool, got 1"),
    ],
)
def test_a_single_fault_is_one_clear_line(
    batch: KViewBatch, change: dict[str, Any], line: str
) -> None:
    lines = str(refusal(KViewBatch, {**dict(batch), **change})).splitlines()
    assert lines[0] == "KViewBatch breaks 1 rule of its contract:"
    assert lines[1] == f"  - {line}"
    assert lines[2] == "sizes by axis:"


def test_full_level_says_where_values_are_not_finite(batch: KViewBatch) -> None:
    x = batch.views_activations.clone()
    x[1, 2, 3, 4] = torch.nan
    x[2, 0, 0, 0] = torch.inf
    error = refusal(KViewBatch, {**dict(batch), "views_activations": x}, "full")
    assert error.violations[0].got == "2 NaN or infinite, the first at (1, 2, 3, 4)"


def test_full_level_says_which_hashkey_has_two_labels(batch: KViewBatch) -> None:
    error = refusal(KViewBatch, {**dict(batch), "hashkey": ["a", "a", "b"]}, "full")
    assert str(error).splitlines()[1] == (
        "  - hashkey, halu: labels of one hashkey: expected one label (halu) for one hashkey, "
        "got 'a' has [0.0, 1.0]"
    )


def test_log_probabilities_of_a_batch_lead_with_the_batch_axis(batch: KViewBatch) -> None:
    one = batch.unbatch()[0].logprobs
    error = refusal(KViewBatch, {**dict(batch), "logprobs": one})
    assert str(error).splitlines()[1] == ("  - logprobs: axes: expected (B, R), got token_ids (2,)")
    assert batch.logprobs is not None
    two = batch.logprobs.map_tensors(lambda x: x[:2])
    error = refusal(KViewBatch, {**dict(batch), "logprobs": two})
    assert str(error).splitlines()[1] == (
        "  - axis B: expected one size, got 2 in logprobs.token_ids; 3 in views_activations"
    )


def test_a_nested_fault_has_its_path(batch: KViewBatch) -> None:
    assert batch.logprobs is not None
    with checks("off"):
        bad = ResponseLogprobs(**{**dict(batch.logprobs), "mask": torch.ones(3, 2)})
    error = refusal(KViewBatch, {**dict(batch), "logprobs": bad})
    assert str(error).splitlines()[1] == (
        "  - logprobs.mask: dtype: expected Bool (..., R), got float32 (3, 2)"
    )


def test_from_dict_names_unknown_and_missing_keys_and_bad_values(batch: KViewBatch) -> None:
    fields = dict(batch)
    fields["view_index"] = fields.pop("view_indices")
    del fields["halu"]
    fields["input_length"] = torch.zeros(4, dtype=torch.long)
    with pytest.raises(ContractError) as error:
        KViewBatch.from_dict(fields)
    assert str(error.value).splitlines()[:4] == [
        "KViewBatch breaks 3 rules of its contract:",
        "  - halu: missing key: expected a value, got no such key",
        "  - view_index: unknown key: expected only hashkey, halu, views_activations, "
        "view_indices, input_length, token_mask, logprobs, views_repeat, got 'view_index' "
        "(did you mean view_indices?)",
        "  - axis B: expected one size, got 3 in hashkey, views_activations, token_mask; "
        "4 in input_length",
    ]


def test_many_violations_are_cut_in_the_message_not_in_the_list(batch: KViewBatch) -> None:
    error = refusal(KViewBatch, {**dict(batch), "hashkey": [1] * 64})
    assert len(error.violations) == 65
    assert "... and 45 more, in .violations" in str(error)
    assert len(str(error).splitlines()) < 30


def test_an_items_report_names_the_item(item: KViewItem) -> None:
    error = refusal(KViewItem, {**dict(item), "input_length": -1, "halu": torch.zeros(1)})
    assert str(error).splitlines()[:3] == [
        "KViewItem breaks 2 rules of its contract:",
        "  - halu: rank: expected Float scalar or Bool scalar or Int scalar, got float32 (1,)",
        "  - input_length: negative count: expected numbers of tokens >= 0, got -1",
    ]


def test_every_layers_activations_share_the_items_axes(item: KViewItem) -> None:
    error = refusal(
        KViewItem, {**dict(item), "all_activations": [torch.zeros(5, 6), torch.zeros(5, 7)]}
    )
    assert str(error).splitlines()[1] == (
        "  - axis H: expected one size, got 6 in views_activations, all_activations[0]; "
        "7 in all_activations[1]"
    )


def test_embeddings_need_two_views() -> None:
    error = refusal(EmbeddingBatch, {"z_views": torch.zeros(3, 1, 8)})
    assert str(error).splitlines()[1] == "  - z_views: size of K: expected K >= 2, got K = 1"


def test_the_error_is_a_value_error_and_jaxtypings_type_check_error(batch: KViewBatch) -> None:
    for kind in (ValueError, jaxtyping.TypeCheckError, KViewError):
        with pytest.raises(kind):
            batch.replace(halu=torch.zeros(7))


def test_the_error_survives_pickling_with_its_violations(batch: KViewBatch) -> None:
    error = refusal(KViewBatch, {**dict(batch), "halu": torch.zeros(7), "hashkey": ["", "b", "c"]})
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is ContractError
        assert str(again) == str(error)
        assert again.violations == error.violations
        assert len(again.violations) == 2


def test_values_never_reach_a_message(batch: KViewBatch) -> None:
    secret = torch.full((3, 4, 5, 6), 1234.5)
    message = str(refusal(KViewBatch, {**dict(batch), "views_activations": secret[0]}))
    assert "1234" not in message


def test_a_fixed_size_and_arrays_of_another_library_are_named() -> None:
    @boundary
    def takes(x: Float[Tensor, "2 D"], y: Float[np.ndarray, " D"]) -> None: ...

    takes(torch.zeros(2, 3), np.zeros(3))
    with pytest.raises(ContractError) as error:
        takes(torch.zeros(3, 3), np.zeros(4))
    assert [str(v) for v in error.value.violations] == [
        "x: size: expected Float (2, D), got float32 (3, 3)",
        "axis D: expected one size, got 3 in x; 4 in y",
    ]


def test_what_only_jaxtyping_can_evaluate_is_still_refused_with_a_reason() -> None:
    @boundary
    def takes(x: Float[Tensor, " B"], y: Float[Tensor, " B+1"]) -> None: ...

    takes(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ContractError) as error:
        takes(torch.zeros(2), torch.zeros(2))
    assert str(error.value.violations[0]) == (
        "x, y: together: expected Float (B,), Float (B+1,), got float32 (2,), float32 (2,)"
    )


def test_the_alternative_that_has_the_dtype_names_the_axes() -> None:
    @boundary
    def takes(x: Float[Tensor, " B"] | Int[Tensor, " N"], y: Float[Tensor, " N"]) -> None: ...

    takes(torch.zeros(2), torch.zeros(3))
    with pytest.raises(ContractError, match="axis N: expected one size, got 2 in x; 3 in y"):
        takes(torch.zeros(2, dtype=torch.long), torch.zeros(3))
