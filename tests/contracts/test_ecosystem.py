"""Contracts among DataLoader, Fabric, torch.compile, autocast and vmap."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import lightning_fabric
import pytest
import torch
from jaxtyping import Bool, Float
from lightning_fabric.utilities import move_data_to_device
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory

from helpers.workers import Items, collate, collate_wrongly
from kview.contracts import (
    ContractError,
    EmbeddingBatch,
    KViewBatch,
    ViewEncoder,
    boundary,
    checks,
    restore_views,
)

# Python 3.12 and later warn of every fork beside torch's threads
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

START_METHODS = ["fork", "spawn"]


def loader(
    dataset: Items, method: str | None, collate_fn: Callable[..., KViewBatch] = collate
) -> Iterable[KViewBatch]:
    return DataLoader(
        dataset,  # pyright: ignore[reportArgumentType]
        batch_size=4,
        num_workers=0 if method is None else 1,
        multiprocessing_context=method,
        collate_fn=collate_fn,
    )


def worker_error(batches: Iterable[KViewBatch]) -> str:
    """The message of the error that the first batch ends in."""
    iterator: Any = iter(batches)
    with pytest.raises(ContractError) as error:
        next(iterator)
    iterator._shutdown_workers()  # left to the garbage collector it takes five seconds
    return str(error.value)


@pytest.mark.parametrize("method", [None, *START_METHODS])
def test_batches_come_out_of_workers_whole(method: str | None) -> None:
    batches = list(loader(Items(), method))
    assert [len(batch) for batch in batches] == [4, 4]
    assert batches[1].equals(collate([Items()[i] for i in range(4, 8)]))


@pytest.mark.parametrize("method", START_METHODS)
def test_an_error_comes_out_of_a_worker_with_the_whole_report(method: str) -> None:
    message = worker_error(loader(Items(4, broken=2), method))
    for line in (
        "Caught ContractError in DataLoader worker process 0",
        "KViewItem breaks 3 rules of its contract:",
        "- halu: label: expected 1, 0 or -1, got 5.0 at 0",
        "- input_length: negative count",
        "- view_indices: repeated view",
        "  K: 3",
    ):
        assert line in message


def test_an_error_in_collate_comes_out_of_a_worker() -> None:
    message = worker_error(loader(Items(4), "fork", collate_wrongly))
    assert "axis B: expected one size, got 4 in hashkey" in message
    assert "3 in halu" in message


def test_a_forked_worker_has_the_level_of_the_block() -> None:
    with checks("full"):
        batch = next(iter(loader(Items(), "fork")))
    assert batch.hashkey[0] == "sample-0-full"


@pytest.mark.parametrize("method", START_METHODS)
def test_every_worker_has_the_level_of_the_variable(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KVIEW_CHECKS", "full")
    assert next(iter(loader(Items(), method))).hashkey[0] == "sample-0-full"


def test_the_loaders_pinning_reaches_every_tensor(
    batch: KViewBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loader pins with this function whatever has `pin_memory`, and passes the rest by."""
    pinned: list[Tensor] = []

    def pin(x: Tensor) -> Tensor:
        x = x.clone()
        pinned.append(x)
        return x

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    result = pin_memory(batch)
    assert batch.equals(result)
    assert isinstance(result, KViewBatch)
    assert result.logprobs is not None
    for x in (*dict(result).values(), *dict(result.logprobs).values()):
        assert not isinstance(x, Tensor) or any(x is p for p in pinned)


def test_fabric_and_lightning_move_a_batch(batch: KViewBatch) -> None:
    """Both move data with this function."""
    moved = move_data_to_device(batch, torch.device("meta"))
    assert isinstance(moved, KViewBatch)
    assert moved.views_activations.is_meta
    nested = move_data_to_device({"train": [batch]}, torch.device("meta"))
    assert nested["train"][0].halu.is_meta


def test_fabrics_loader_gives_batches() -> None:
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1)
    wrapped: Any = fabric.setup_dataloaders(loader(Items(), None))  # pyright: ignore
    assert [type(batch) for batch in wrapped] == [KViewBatch, KViewBatch]


class Encoder(nn.Module):
    """A checked encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(6, 2)

    @boundary
    def forward(
        self, x: Float[Tensor, "M T H"], *, token_mask: Bool[Tensor, "M T"] | None = None
    ) -> Float[Tensor, "M D"]:
        return self.project(x.mean(1))


@boundary
def spread(z_views: Float[Tensor, "B K D"], halu: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """A loss."""
    return (z_views - z_views.mean(1, keepdim=True)).square().sum() + halu.sum()


@pytest.mark.parametrize("level", ["shape", "full"])
@pytest.mark.parametrize("dynamic", [None, True])
def test_encoder_and_loss_compile_as_one_graph_from_a_built_batch(
    batch: KViewBatch, level: Any, dynamic: bool | None
) -> None:
    torch.compiler.reset()
    encoder = Encoder()

    def step(batch: KViewBatch) -> Tensor:
        flat = batch.flatten()
        z = restore_views(encoder(flat.x, token_mask=flat.token_mask), batch.num_views)
        embeddings = EmbeddingBatch(z_views=z, hashkey=batch.hashkey, halu=batch.halu)
        return spread(embeddings.z_views, batch.halu)

    with checks(level):
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager", dynamic=dynamic)
        loss = compiled(batch)
        loss.backward()
        torch.testing.assert_close(loss, step(batch))
    assert encoder.project.weight.grad is not None
    torch.compiler.reset()


def test_a_batch_can_be_built_inside_a_compiled_region(batch: KViewBatch) -> None:
    torch.compiler.reset()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def build(x: Tensor, halu: Tensor) -> Tensor:
        built = KViewBatch(
            hashkey=["a"] * 3, halu=halu, views_activations=x, input_length=halu.long()
        )
        return built.flatten().x * 2

    x = batch.views_activations
    torch.testing.assert_close(build(x, batch.halu), x.flatten(0, 1) * 2)
    torch.compiler.reset()


def test_a_compiled_encoder_is_called_through_the_view_encoder(batch: KViewBatch) -> None:
    torch.compiler.reset()
    encoder = Encoder()
    compiled = torch.compile(encoder, fullgraph=True, backend="aot_eager")
    views = ViewEncoder(encoder, module=compiled)
    torch.testing.assert_close(views(batch), ViewEncoder(encoder)(batch))
    torch.compiler.reset()


def test_autocast_to_bfloat16_keeps_the_contract(batch: KViewBatch) -> None:
    with checks("full"), torch.autocast("cpu", torch.bfloat16):
        z = ViewEncoder(Encoder())(batch)
        assert z.dtype == torch.bfloat16
        assert EmbeddingBatch(z_views=z, halu=batch.halu).z_views is z


def test_vmap_inside_an_encoder(batch: KViewBatch) -> None:
    @boundary
    def one(x: Float[Tensor, "T H"]) -> Float[Tensor, " H"]:
        return x.mean(0)

    def encoder(x: Tensor) -> Tensor:
        return torch.func.vmap(one)(x)

    z = ViewEncoder(encoder)(batch)
    torch.testing.assert_close(z, batch.views_activations.mean(2))


def test_vmap_over_a_whole_checked_encoder(batch: KViewBatch) -> None:
    """An ensemble: one set of inputs, many sets of weights."""
    encoder = Encoder()
    x = batch.flatten().x
    weights = {name: torch.stack([p, 2 * p]) for name, p in encoder.named_parameters()}

    def run(parameters: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(encoder, parameters, (x,))

    z = torch.func.vmap(run)(weights)
    torch.testing.assert_close(z[1], 2 * encoder(x))


def test_gradients_flow_through_checked_calls(batch: KViewBatch) -> None:
    encoder = Encoder()
    with checks("full"):
        z = ViewEncoder(encoder)(batch)
        EmbeddingBatch(z_views=z, halu=batch.halu).z_views.sum().backward()
    assert encoder.project.weight.grad is not None


def test_deepcopy_of_an_encoder_with_boundaries_works(batch: KViewBatch) -> None:
    encoder = Encoder()
    twin = copy.deepcopy(encoder)
    torch.testing.assert_close(ViewEncoder(twin)(batch), ViewEncoder(encoder)(batch))
