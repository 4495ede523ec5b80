"""The ready checks pass what is right and name what is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kview.contracts import ConfigError, ContractError, KViewItem
from kview.contracts.conformance import check_dataset, check_encoder
from kview.data import ActivationDataset, ActivationStore, write_synthetic_store
from kview.train import LayerAwareProgressiveCompressor, ProgressiveCompressor

H, D = 6, 3


class Linear(nn.Module):
    """A right encoder: a masked mean, a projection."""

    hidden_size = H

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(H, D)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor, *, token_mask: Tensor | None = None) -> Tensor:
        x = self.dropout(self.project(x))
        if token_mask is None:
            return x.mean(1)
        return (x * token_mask[:, :, None]).sum(1) / token_mask.sum(1, keepdim=True)


def test_a_right_encoder_passes_and_keeps_its_mode() -> None:
    encoder = Linear()
    encoder.dropout.eval()
    check_encoder(encoder)
    assert encoder.training
    assert not encoder.dropout.training


def test_a_function_and_bfloat16_pass() -> None:
    check_encoder(lambda x: x.mean(1), hidden_size=4)
    check_encoder(Linear().bfloat16(), tolerance=0.05)


def test_the_hidden_size_must_come_from_somewhere() -> None:
    with pytest.raises(ConfigError, match="pass hidden_size="):
        check_encoder(lambda x: x.mean(1))


@pytest.mark.parametrize(
    "encoder",
    [
        ProgressiveCompressor(12, 4),
        LayerAwareProgressiveCompressor(12, 4, num_layers=5),
        LayerAwareProgressiveCompressor(12, 4, layer_ids=[3, 9, 1, 7], conditioning="film_both"),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_kviews_own_encoders_pass(encoder: nn.Module) -> None:
    check_encoder(encoder)


def test_kviews_own_dataset_passes(tmp_path: Path) -> None:
    path = tmp_path / "store"
    write_synthetic_store(path, num_rows=20, num_layers=5, hidden_size=8, max_tokens=4)
    with ActivationStore.open(path) as store:
        check_dataset(ActivationDataset(store, num_views=3), num_views=3)


class Wrong(Linear):
    """An encoder with the fault that a function is."""

    def __init__(self, fault: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fault = fault

    def forward(self, x: Tensor, *, token_mask: Tensor | None = None) -> Tensor:
        return self.fault(super().forward(x, token_mask=token_mask))


def batch_mean(z: Tensor) -> Tensor:
    return z - z.mean(0)


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        (lambda z: z[:, None], "rank"),
        (lambda z: z.long(), "dtype"),
        (lambda z: z[1:], "axis M"),
        (lambda z: z[:, :0], "size of D"),
        (lambda z: z * torch.nan, "not finite"),
        (lambda z: z + torch.rand_like(z), "determinism"),
        (batch_mean, "independence"),
        (lambda z: z.flip(0), "independence"),
        (lambda z: z[:, : 1 + len(z) // 12], "axis D"),
        (lambda z: (z, z), "type"),
    ],
)
def test_a_wrong_encoder_is_named(fault: Callable[[Tensor], Tensor], rule: str) -> None:
    with pytest.raises(ContractError) as error:
        check_encoder(Wrong(fault))
    assert str(error.value).startswith("check_encoder(Wrong) breaks")
    assert rule in {v.rule for v in error.value.violations}


def test_an_encoder_that_ignores_its_mask_is_named() -> None:
    class Ignores(Linear):
        def forward(self, x: Tensor, *, token_mask: Tensor | None = None) -> Tensor:
            return super().forward(x)

    with pytest.raises(ContractError, match="token_mask: expected embeddings that ignore masked"):
        check_encoder(Ignores())


def test_an_encoder_that_reads_no_mask_as_no_token_is_named() -> None:
    class Odd(Linear):
        def forward(self, x: Tensor, *, token_mask: Tensor | None = None) -> Tensor:
            z = super().forward(x, token_mask=token_mask)
            return z + 1 if token_mask is None else z

    with pytest.raises(ContractError, match="token_mask: expected None to mean that all are real"):
        check_encoder(Odd())


def test_an_encoder_that_changes_its_input_is_named() -> None:
    class InPlace(Linear):
        def forward(self, x: Tensor, *, token_mask: Tensor | None = None) -> Tensor:
            return super().forward(x.mul_(0.5), token_mask=token_mask)

    with pytest.raises(ContractError, match="input: expected left as it is"):
        check_encoder(InPlace())


def test_an_encoder_that_raises_is_named_with_its_error() -> None:
    class OneByOne(Linear):
        def forward(self, x: Tensor, *, token_mask: Tensor | None = None) -> Tensor:
            if len(x) == 1:
                raise ZeroDivisionError("one view alone\nand more")
            return super().forward(x, token_mask=token_mask)

    def raises(x: Tensor) -> Tensor:
        raise KeyError("weights")

    with pytest.raises(ContractError) as error:
        check_encoder(raises, hidden_size=4, num_views=[2])
    assert [str(v) for v in error.value.violations] == [
        "K=2: raises: expected embeddings (M, D), got KeyError: 'weights'"
    ]
    with pytest.raises(ContractError) as error:
        check_encoder(OneByOne(), num_views=[2])
    assert [str(v) for v in error.value.violations] == [
        "K=2: raises: expected embeddings of any of these views, "
        "got ZeroDivisionError: one view alone"
    ]


def test_what_cannot_be_called_is_no_encoder() -> None:
    with pytest.raises(ContractError) as error:
        check_encoder(3, hidden_size=4)  # pyright: ignore[reportArgumentType]
    assert [str(v) for v in error.value.violations] == [
        "encoder: raises: expected a signature to call it by, "
        "got TypeError: 3 is not a callable object"
    ]


class Items:
    """A right dataset."""

    def __init__(self, size: int = 20) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> KViewItem:
        if not 0 <= index < self.size:
            raise IndexError(index)
        return self.make(index)

    def make(self, index: int) -> KViewItem:
        generator = torch.Generator().manual_seed(index)
        return KViewItem(
            hashkey=f"sample-{index}",
            halu=torch.tensor(index % 2),
            views_activations=torch.randn(3, 2, H, generator=generator),
            view_indices=torch.tensor([0, 2, 1]),
            input_length=index,
        )


def test_a_right_dataset_passes() -> None:
    check_dataset(Items())
    check_dataset(Items(1), num_views=3)


class Ragged(Items):
    def make(self, index: int) -> KViewItem:
        item = super().make(index)
        return item.replace(views_activations=torch.zeros(3, 1 + index % 2, H).half())


class Restless(Items):
    calls = 0

    def make(self, index: int) -> KViewItem:
        self.calls += 1
        return super().make(index).replace(hashkey=f"call-{self.calls}")


class Infinite(Items):
    def make(self, index: int) -> KViewItem:
        return super().make(index).replace(views_activations=torch.full((3, 2, H), torch.inf))


class Plain(Items):
    def make(self, index: int) -> KViewItem:
        return dict(super().make(index))  # pyright: ignore[reportReturnType]


class Endless(Items):
    def __getitem__(self, index: int) -> KViewItem:
        return self.make(index)


class Unpicklable(Items):
    def __init__(self) -> None:
        super().__init__()
        self.transform = lambda x: x


@pytest.mark.parametrize(
    ("dataset", "rule"),
    [
        (Ragged(), "axis T"),
        (Restless(), "determinism"),
        (Infinite(), "not finite"),
        (Plain(), "type"),
        (Endless(), "end"),
        (Unpicklable(), "pickle"),
        (Items(0), "length"),
    ],
)
def test_a_wrong_dataset_is_named(dataset: Items, rule: str) -> None:
    with pytest.raises(ContractError) as error:
        check_dataset(dataset)
    assert rule in {v.rule for v in error.value.violations}


class Raising(Items):
    def make(self, index: int) -> KViewItem:
        raise OSError(f"row {index} is gone")


class OnceOnly(Items):
    def __init__(self) -> None:
        super().__init__(1)
        self.read: list[int] = []

    def make(self, index: int) -> KViewItem:
        if index in self.read:
            raise RuntimeError("read already")
        self.read.append(index)
        return super().make(index)


class KeyedEnd(Items):
    def __getitem__(self, index: int) -> KViewItem:
        return {i: self.make(i) for i in range(self.size)}[index]


class NoLength(Items):
    def __len__(self) -> int:
        raise NotImplementedError("a stream")


class BadPickle(Items):
    def __reduce__(self) -> str:
        raise ValueError("not over the wire")


@pytest.mark.parametrize(
    ("dataset", "line"),
    [
        (Raising(1), "dataset[0]: raises: expected a sample, got OSError: row 0 is gone"),
        (
            OnceOnly(),
            "dataset[0]: raises: expected a sample when read again, got RuntimeError: read already",
        ),
        (KeyedEnd(1), "dataset: end: expected an IndexError at len(dataset), got KeyError: 1"),
        (NoLength(), "dataset: raises: expected a length, got NotImplementedError: a stream"),
        (
            BadPickle(1),
            "dataset: pickle: expected a dataset that spawned workers can have, "
            "got ValueError: not over the wire",
        ),
    ],
)
def test_a_dataset_that_raises_is_named_with_its_error(dataset: Items, line: str) -> None:
    with pytest.raises(ContractError) as error:
        check_dataset(dataset)
    assert [str(v) for v in error.value.violations] == [line]


def test_another_number_of_views_is_named() -> None:
    with pytest.raises(ContractError, match=r"size of K: expected num_views=4, got 3"):
        check_dataset(Items(), num_views=4)
