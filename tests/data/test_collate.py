"""Items make the batch that they come from, and what does not fit is one error."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kview.contracts import ContractError, KViewBatch, KViewItem, ResponseLogprobs, checks
from kview.data import collate_kview


def item(K: int = 3, T: int = 4, H: int = 2, **changes: Any) -> KViewItem:
    values: dict[str, Any] = {
        "hashkey": "a",
        "halu": torch.tensor(1.0),
        "views_activations": torch.ones(K, T, H),
        "view_indices": torch.arange(K),
        "input_length": 7,
    }
    return KViewItem(**{**values, **changes})


@given(
    B=st.integers(1, 5),
    K=st.integers(2, 5),
    T=st.integers(1, 4),
    H=st.integers(1, 4),
    masked=st.booleans(),
    logprobs=st.sampled_from([None, 0, 2]),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
)
def test_the_items_of_a_batch_make_the_batch(
    B: int, K: int, T: int, H: int, masked: bool, logprobs: int | None, dtype: torch.dtype
) -> None:
    mask = torch.rand(B, T) < 0.5
    mask[:, 0] = True
    recorded = None
    if logprobs is not None:
        recorded = ResponseLogprobs(
            token_ids=torch.randint(9, (B, T)),
            token_logprobs=-torch.rand(B, T),
            mask=mask,
            topk_token_ids=torch.randint(9, (B, T, logprobs)) if logprobs else None,
            topk_logprobs=-torch.rand(B, T, logprobs) if logprobs else None,
        )
    batch = KViewBatch(
        hashkey=[f"key {b}" for b in range(B)],
        halu=torch.randint(-1, 2, (B,)).float(),
        views_activations=torch.randn(B, K, T, H).to(dtype),
        view_indices=torch.stack([torch.randperm(K) for _ in range(B)]),
        input_length=torch.randint(9, (B,)),
        token_mask=mask if masked else None,
        logprobs=recorded,
    )
    with checks("full"):
        assert collate_kview(batch.unbatch()).equals(batch)


@pytest.mark.parametrize("label", [torch.tensor(True), torch.tensor(1), torch.tensor(1.0).double()])
def test_labels_become_float32(label: torch.Tensor) -> None:
    batch = collate_kview([item(halu=label), item(halu=torch.tensor(-1))])
    assert batch.halu.dtype == torch.float32
    assert batch.halu.tolist() == [1.0, -1.0]


def test_a_batch_passes_through() -> None:
    batch = collate_kview([item(), item()])
    assert collate_kview(batch) is batch


def test_items_without_a_mask_are_all_real() -> None:
    mask = torch.tensor([True, False, False, False])
    batch = collate_kview([item(token_mask=mask), item()])
    assert batch.token_mask is not None
    assert batch.token_mask.sum(1).tolist() == [1, 4]


def test_one_item_with_repeated_views_makes_a_batch_that_may_repeat() -> None:
    repeated = item(view_indices=torch.tensor([1, 1, 0]), views_repeat=True)
    assert collate_kview([item(), repeated]).views_repeat


def test_everything_that_differs_is_one_error() -> None:
    with pytest.raises(ContractError) as caught:
        collate_kview([item(K=3, T=4), item(K=2, T=5)])
    message = str(caught.value)
    assert "axis K" in message
    assert "axis T" in message
    assert "items[0].views_activations=3" in message
    assert "items[1].views_activations=2" in message


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"views_activations": torch.ones(3, 4, 2).half()}, "dtype: expected one for all items"),
        ({"view_indices": torch.arange(3, dtype=torch.int32)}, "torch.int64, torch.int32"),
        (
            {
                "logprobs": ResponseLogprobs(
                    token_ids=torch.ones(4, dtype=torch.long),
                    token_logprobs=torch.zeros(4),
                    mask=torch.ones(4, dtype=torch.bool),
                )
            },
            "presence",
        ),
    ],
)
def test_items_that_are_not_alike_are_refused(other: dict[str, Any], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        collate_kview([item(), item(**other)])


@pytest.mark.parametrize("wrong", [[], [{"hashkey": "a"}], {"hashkey": ["a"]}])
def test_what_are_no_items_is_refused(wrong: Any) -> None:
    with pytest.raises(ContractError):
        collate_kview(wrong)
