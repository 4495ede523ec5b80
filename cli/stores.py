"""`kview inspect`, `verify`, `convert` and `capture`: what is done with stores."""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import tyro

from ..data import (
    CaptureProgress,
    StoreSummary,
    capture,
    convert_store,
    describe_store,
    verify_store,
)
from .console import note, print_json, print_table, progress_bar, say
from .device import usable

_BAR = 40  # columns of the longest bar of the histogram


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspect:
    """Describe a store: rows, layers, labels, lengths, norms, and what is wrong with it."""

    store: tyro.conf.Positional[str]
    """The store; or a folder with activations.zarr, generation.jsonl and eval_results.json."""

    generation: str | None = None
    """generation.jsonl, where it is not beside the store."""

    labels: str | None = None
    """eval_results.json, likewise."""

    json: bool = False
    """Print JSON instead of a page."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verify:
    """Read everything a store holds and list all damage; exits 1 where there is any."""

    store: tyro.conf.Positional[str]
    """The store, or a folder that holds one."""

    json: bool = False
    """Print JSON instead of lines."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convert:
    """Copy a store to a native one, with labels and texts, and compare every value after.

    Run again after an interruption, it goes on where it stopped.
    """

    src: tyro.conf.Positional[str]
    """The store to copy, or a folder that holds one with its label files."""

    dst: tyro.conf.Positional[str]
    """Where the native store goes."""

    generation: str | None = None
    """generation.jsonl, where it is not beside the store."""

    labels: str | None = None
    """eval_results.json, likewise."""

    group_by: str | None = None
    """Key of generation.jsonl's lines to take groups from, such as `question`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Capture:
    """Put given responses through a language model and keep their hidden states in a native store.

    Needs `pip install 'kview[capture]'`. Run again after an interruption, it goes on where it
    stopped.
    """

    model: str
    """A hub id or a folder; causal or encoder."""

    input: str
    """A JSONL of `prompt, response, halu?, hashkey?, group?`."""

    out: str
    """Where the native store goes."""

    layers: tuple[int, ...] | None = None
    """Layer ids to keep, 0 for the embeddings' output; None: all."""

    max_tokens: int = 64
    """Response tokens kept at most, T."""

    batch_tokens: int = 8192
    """Tokens in a batch, padding included."""

    kind: Literal["causal", "encoder"] | None = None
    """Kind of the model; None: what its configuration says."""

    device: str | None = None
    """Where to run; None: an accelerator where there is one."""

    dtype: Literal["float16", "float32"] = "float16"
    """What activations are stored in."""

    logprobs: bool | None = None
    """Also keep how likely the model finds each response token; None: where it is a causal model
    with its head."""

    logprobs_top_k: int = 20
    """The likeliest tokens to keep beside each."""


def run_inspect(command: Inspect) -> None:
    """Runs `kview inspect`."""
    summary = describe_store(command.store, generation=command.generation, labels=command.labels)
    if command.json:
        print_json(dataclasses.asdict(summary))
    else:
        show(summary)


def run_verify(command: Verify) -> None:
    """Runs `kview verify`."""
    with _progress("verifying") as progress:
        damages = verify_store(command.store, progress)
    if command.json:
        print_json({"damages": [dataclasses.asdict(damage) for damage in damages]})
    for damage in () if command.json else damages:
        say(str(damage))
    if damages:
        problems = "1 problem" if len(damages) == 1 else f"{len(damages)} problems"
        note(f"kview: {problems} in {command.store}")
        sys.exit(1)
    if not command.json:
        say(f"{command.store}: no damage found")


def run_convert(command: Convert) -> None:
    """Runs `kview convert`."""
    with _progress("converting") as progress:
        conversion = convert_store(
            command.src,
            command.dst,
            progress,
            generation=command.generation,
            labels=command.labels,
            group_by=command.group_by,
        )
    say(f"{command.dst}: {conversion.rows} rows, every value compared")


def run_capture(command: Capture) -> None:
    """Runs `kview capture`."""
    with progress_bar() as bar:
        task = bar.add_task("capturing", total=None)

        def show_progress(at: CaptureProgress) -> None:
            speed = f"capturing, {at.tokens_per_second:.0f} tokens/s"
            bar.update(task, completed=at.done, total=at.total, description=speed)

        summary = capture(
            command.model,
            command.input,
            command.out,
            layers=command.layers,
            max_tokens=command.max_tokens,
            batch_tokens=command.batch_tokens,
            kind=command.kind,
            device=None if command.device is None else usable(command.device),
            dtype=command.dtype,
            logprobs=command.logprobs,
            logprobs_top_k=command.logprobs_top_k,
            progress=show_progress,
        )
    say(
        f"{command.out}: {summary.rows} rows ({summary.resumed} were there already), "
        f"{summary.tokens_per_second:.0f} tokens/s"
    )
    if summary.empty:
        note(f"{summary.empty} responses have no token and no row")
    for hashkey in summary.too_long:
        note(f"left out: {hashkey} has more tokens than the model takes")
    for left_out in summary.out_of_range:
        note(
            f"left out: {left_out.hashkey}, layer {left_out.layer} reaches {left_out.value:g}, "
            f"which {command.dtype} cannot hold; --dtype float32 may"
        )


def show(summary: StoreSummary) -> None:
    """The page of `kview inspect`."""
    rows = f"{summary.rows} rows"
    if summary.allocated_rows != summary.rows:
        rows += f" of {summary.allocated_rows} allocated"
    say(", ".join(summary.stores))
    say(
        f"{rows}; {len(summary.layer_ids)} layers; hidden size {summary.hidden_size}; "
        f"up to {summary.max_tokens} response tokens; {summary.dtype}"
    )
    say(f"schema {', '.join(summary.schemas)}; model {summary.model or 'not recorded'}")
    size = f"{_megabytes(summary.activation_bytes)} of activations"
    if summary.disk_bytes is not None:
        size += f", {_megabytes(summary.disk_bytes)} on disk"
    say(size)
    names = {1: "hallucinated", 0: "not hallucinated", -1: "unlabelled"}
    say("labels: " + ", ".join(f"{n} {names[label]}" for label, n in summary.labels.items()))
    _show_lengths(summary)
    print_table(
        "norms of the token vectors",
        ("layer", "mean", "deviation", "largest", "rows seen"),
        [
            (str(n.layer), f"{n.mean:.3g}", f"{n.deviation:.3g}", f"{n.largest:.3g}", str(n.rows))
            for n in summary.norms
        ],
    )
    for problem in summary.problems:
        say(f"note: {problem}")


def _show_lengths(summary: StoreSummary) -> None:
    say("response lengths in tokens:")
    most = max((b.rows for b in summary.lengths), default=1)
    for b in summary.lengths:
        name = f"{b.first}" if b.first == b.last else f"{b.first}-{b.last}"
        say(f"  {name:>9} {'█' * round(_BAR * b.rows / most)} {b.rows}")
    if summary.truncated_rows:
        say(f"  {summary.truncated_rows} responses are longer than what is kept")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


@contextmanager
def _progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar, as a function of what is done and of how much there is."""
    with progress_bar() as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
