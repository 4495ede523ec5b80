"""A spoilt contract is refused at every boundary of kview; a new boundary cannot be forgotten."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.paths import ROOMS
from kview.contracts import (
    Contract,
    ContractError,
    EmbeddingBatch,
    FlatViews,
    KViewBatch,
    KViewItem,
    ResponseLogprobs,
    checks,
)
from kview.contracts.boundaries import BOUNDARIES
from kview.contracts.checking.hints import Hint
from kview.contracts.strategies import (
    embedding_batches,
    invalid_kview_batches,
    kview_batches,
    kview_items,
)

Spoilt = tuple[str, Contract]
"""The field that has to be named, and a contract that was built with the checks off."""


def modules() -> Iterator[Any]:
    for room in ROOMS:
        package = importlib.import_module(f"kview.{room}")
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


MODULES = {module.__name__: module for module in modules()}
OURS = {name: function for name, function in BOUNDARIES.items() if name.startswith("kview.")}


def contracts_in(hint: Any) -> set[type[Contract]]:
    """The contracts that an annotation mentions."""
    if isinstance(hint, type) and issubclass(hint, Contract):
        return {hint}
    return set().union(*map(contracts_in, get_args(hint)))


def parameters_of(function: Callable[..., Any]) -> dict[str, Any]:
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    return hints


CASES = [
    pytest.param(name, parameter, kind, id=f"{name}({parameter}: {kind.__name__})")
    for name, function in sorted(OURS.items())
    for parameter, hint in parameters_of(function).items()
    for kind in sorted(contracts_in(hint), key=lambda kind: kind.__name__)
]


def spoilt_items() -> st.SearchStrategy[Spoilt]:
    changes: dict[str, Any] = {
        "hashkey": "",
        "halu": torch.tensor(2.0),
        "views_activations": torch.zeros(1, 2, 2),
        "view_indices": torch.tensor([0, 0]),
        "input_length": -1,
        "token_mask": torch.tensor([False, False]),
        "logprobs": {},
        "views_repeat": None,
        "all_activations": [torch.zeros(1, 1)],
    }
    items = kview_items(K=2, T=2, H=2, views_repeat=False)
    return st.builds(spoil, items, st.sampled_from(list(changes)).map(lambda f: (f, changes[f])))


def spoilt_embeddings() -> st.SearchStrategy[Spoilt]:
    changes = [
        ("z_views", torch.zeros(2, 1, 3)),
        ("z_views", torch.zeros(2, 3)),
        ("z_views", torch.zeros(2, 2, 3).long()),
        ("hashkey", ["a"]),
        ("hashkey", ["a", ""]),
        ("halu", torch.tensor([1.0, 2.0])),
        ("halu", torch.zeros(3)),
    ]
    batches = embedding_batches(B=2, K=2, D=3, hashkey=True, halu=True)
    return st.builds(spoil, batches, st.sampled_from(changes))


def spoilt_views() -> st.SearchStrategy[Spoilt]:
    changes = [
        ("x", torch.zeros(4, 2)),
        ("x", torch.zeros(4, 2, 2).long()),
        ("layer_idx", torch.zeros(3).long()),
        ("token_mask", torch.zeros(4, 3).bool()),
    ]
    batches = kview_batches(B=2, K=2, T=2, H=2, view_indices=True, token_mask=True)
    return st.builds(spoil, batches.map(KViewBatch.flatten), st.sampled_from(changes))


def spoilt_logprobs() -> st.SearchStrategy[Spoilt]:
    changes = [
        ("token_ids", torch.zeros(2, 3)),
        ("token_logprobs", torch.zeros(2, 2)),
        ("mask", torch.zeros(2, 3).long()),
    ]
    valid = ResponseLogprobs(
        token_ids=torch.zeros(2, 3).long(),
        token_logprobs=-torch.ones(2, 3),
        mask=torch.ones(2, 3).bool(),
    )
    return st.builds(spoil, st.just(valid), st.sampled_from(changes))


def spoil(valid: Contract, change: tuple[str, Any]) -> Spoilt:
    with checks("off"):
        return change[0], valid.replace(**dict([change]))


SPOILT: dict[type[Contract], st.SearchStrategy[Spoilt]] = {
    KViewBatch: invalid_kview_batches().map(lambda invalid: (invalid.field, invalid.batch)),
    KViewItem: spoilt_items(),
    EmbeddingBatch: spoilt_embeddings(),
    FlatViews: spoilt_views(),
    ResponseLogprobs: spoilt_logprobs(),
}


@pytest.mark.parametrize(("name", "parameter", "kind"), CASES)
@settings(max_examples=20)
@given(data=st.data())
def test_a_spoilt_contract_is_refused(
    name: str, parameter: str, kind: type[Contract], data: st.DataObject
) -> None:
    """The other arguments are None: the call is refused before it begins."""
    function = OURS[name]
    field, contract = data.draw(SPOILT[kind])
    is_direct = kind in Hint(parameters_of(function)[parameter]).contracts
    arguments: dict[str, Any] = dict.fromkeys(inspect.signature(function).parameters)
    arguments[parameter] = contract if is_direct else [contract]
    with checks("full"), pytest.raises(ContractError) as error:
        function(**arguments)
    assert str(error.value).startswith(f"{name}(...) breaks")
    path = f"{parameter}.{field}" if is_direct else f"{parameter}[0].{field}"
    assert any(f.startswith(path) for v in error.value.violations for f in v.fields)


UNCHECKED = {
    "kview.data.collate_kview": "hands on to stack_items and checked_batch, which are boundaries",
    "kview.eval.evaluate": "validation_step checks each batch as it comes",
    "kview.data.ActivationWriter.append": "logprob_tables checks them; it takes numpy's numbers",
    "kview.train.measure_layers": "each batch is checked as it comes",
    "kview.train.LayerAwareProgressiveCompressor.calibrate": "measure_layers has the batches",
    "kview.train.ProgressiveCompressor.calibrate": "measure_layers has the batches",
}
"""Public callables that take a contract and are no boundary, and why."""


def is_protocol(cls: type) -> bool:
    return getattr(cls, "_is_protocol", False)


def public_callables() -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """(public name, full name, function) of all that the rooms export, methods included."""
    for room in ("data", "eval", "train"):
        module = MODULES[f"kview.{room}"]
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isfunction(thing):
                yield f"kview.{room}.{name}", f"{thing.__module__}.{thing.__qualname__}", thing
            elif inspect.isclass(thing) and not (issubclass(thing, Contract) or is_protocol(thing)):
                for method, value in vars(thing).items():
                    value = getattr(value, "__func__", value)
                    is_record = method == "__init__" and is_dataclass(thing)
                    is_public = method[0] != "_" or method[:2] == "__"
                    is_ours = str(getattr(value, "__module__", "")).startswith("kview.")
                    if inspect.isfunction(value) and is_public and is_ours and not is_record:
                        full = f"{thing.__module__}.{value.__qualname__}"
                        yield f"kview.{room}.{name}.{method}", full, value


def test_whatever_is_public_and_takes_a_contract_is_a_boundary() -> None:
    missing = [
        public
        for public, full, function in public_callables()
        if any(map(contracts_in, parameters_of(function).values()))
        and full not in BOUNDARIES
        and public not in UNCHECKED
    ]
    assert missing == []


@pytest.mark.parametrize(
    "name",
    [
        "kview.data.dataset.ActivationDataset.__getitem__",
        "kview.data.dataset.ActivationDataset.__getitems__",
        "kview.data.collate.stack_items",
        "kview.train.trainer.ContrastiveTrainer.training_step",
        "kview.train.loss.supcon.supcon_loss",
        "kview.train.encoders.progressive.ProgressiveCompressor.forward",
        "kview.train.encoders.layer_aware.LayerAwareProgressiveCompressor.forward",
        "kview.eval.evaluator.ContrastiveEvaluator.validation_step",
        "kview.eval.manager.EvaluatorManager.accumulate_batch",
        "kview.contracts.view_encoder.ViewEncoder.__call__",
        "kview.contracts.views.restore_views",
    ],
)
def test_the_designs_boundaries_are_boundaries(name: str) -> None:
    assert name in BOUNDARIES
