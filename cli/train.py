"""`kview train`: a store in, a run folder out; its flags are `settings` and the trainer config."""

import dataclasses
from dataclasses import dataclass, field

import torch
import tyro
from torch import nn

from ..contracts import CheckpointError, ConfigError
from ..contracts.settings import Count, checked
from ..data import ActivationDataset
from ..train import (
    ContrastiveTrainerConfig,
    FitResult,
    LayerAwareProgressiveCompressor,
    ProgressiveCompressor,
    RunFolder,
    train_contrastive,
)
from .console import is_first, note, say
from .layers import choose_layers, kept_layers
from .run_data import absolute, dataset, full_path, open_data
from .seeds import run_of, seeds_of, write_seeds
from .settings import DataSettings, EncoderSettings, RunSettings
from .split_notes import grouped, leaks


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a contrastive encoder on K views per response.

    A run's settings lie in its config.json; `--config RUN/config.json` takes them back, and flags
    beside it change them. `--resume RUN` goes on where a run stopped and needs nothing else; flags
    beside it may change how it is carried out, never what comes out of it.
    """

    store: tyro.conf.Positional[str | None] = None
    """The store; or a folder with activations.zarr, generation.jsonl and eval_results.json."""

    out: str | None = None
    """Folder of the run; it is made."""

    config: str | None = None
    """Take the settings of this config.json."""

    resume: str | None = None
    """Go on with the run in this folder."""

    seeds: int | None = None
    """Train so many times on the same split, with the seeds `seed`, `seed` + 1, ..., each in a
    folder of its own in the run's; `kview evaluate RUN` then tells the spread over training."""

    data: DataSettings = field(default_factory=DataSettings)

    encoder: EncoderSettings = field(default_factory=EncoderSettings)

    trainer: ContrastiveTrainerConfig = field(default_factory=ContrastiveTrainerConfig)


def run_train(command: Train) -> None:
    """Runs `kview train`.

    Raises:
        ConfigError: flags are missing, or do not go together.
    """
    resume = command.resume is not None
    if resume and (command.out or command.config or command.seeds):
        raise ConfigError("--resume RUN goes on in RUN; leave out --out, --config and --seeds")
    if command.store is None or (command.out is None and command.resume is None):
        raise ConfigError("kview train needs a STORE and --out RUN (or --resume RUN)")
    data = command.data
    settings = RunSettings(
        store=full_path(command.store),
        data=dataclasses.replace(
            data, generation=absolute(data.generation), labels=absolute(data.labels)
        ),
        encoder=command.encoder,
        trainer=command.trainer,
    )
    folder = RunFolder(command.resume or command.out or "")
    seeds = seeds_of(folder)
    if command.seeds is not None:
        first = settings.trainer.seed
        seeds = list(range(first, first + checked(Count, seeds=command.seeds)))
        if is_first():
            if folder.config.exists():
                raise _taken(folder)
            write_seeds(folder, settings, seeds)
    if not seeds:
        train(settings, folder, resume=resume)
        note(speed(folder))
    elif not resume and command.seeds is None:
        raise _taken(folder)
    for seed in seeds:
        note(f"seed {seed} of {seeds}")
        one = run_of(folder, seed)
        train(settings.seeded(seed), one, resume=one.config.exists())
    say(f"next: kview evaluate {folder.path}")


def _taken(folder: RunFolder) -> ConfigError:
    return ConfigError(
        f"{folder.path} holds a run already; go on with kview train --resume {folder.path}, "
        "or choose another --out"
    )


def train(settings: RunSettings, folder: RunFolder, *, resume: bool = False) -> FitResult:
    """Trains as the settings say, into the run folder.

    Raises:
        ConfigError: the settings do not go together, or the folder holds a run already.
    """
    config = settings.trainer_config()
    if folder.is_taken and not resume:
        raise _taken(folder)
    parser = open_data(settings)
    settings = settings.grouped(parser.grouped_by)
    layers = (
        kept_layers(settings, folder.read_config())
        if resume and folder.config.exists()
        else choose_layers(settings, parser)
    )
    source = dataset(parser, settings, "train", layers.ids)
    val_source = None if parser.splits.val is None else dataset(parser, settings, "val", layers.ids)
    torch.manual_seed(config.seed)
    encoder = build_encoder(settings.encoder, source)
    for line in (grouped(parser), *leaks(parser)):
        note(line)
    val_rows = f", {len(val_source)} val" if val_source else ""
    note(
        f"{len(source)} train{val_rows} rows, K={config.num_views} of "
        f"{len(layers.ids)} layers, {type(encoder).__name__}"
    )
    note(f"views from layers {list(layers.ids)}: {layers.reason}")
    return train_contrastive(
        encoder,
        source,
        val_source,
        config=config,
        run_dir=folder.path,
        resume_from=folder.path if resume else None,
        settings={**settings.to_dict(), "layers": layers.to_dict()},
        progress=True,
    )


def speed(folder: RunFolder) -> str:
    """How fast the run's epochs were, and what share of the time they waited for data.

    Raises:
        CheckpointError: timings.jsonl is damaged.
    """
    try:
        epochs = folder.read_timings()
        seconds = sum(epoch["seconds"] for epoch in epochs)
        waiting = sum(epoch["seconds_waiting_for_data"] for epoch in epochs)
        samples = sum(epoch["seconds"] * epoch["samples_per_second"] for epoch in epochs)
        return (
            f"{samples / seconds:.0f} samples/s over {seconds:.1f} s; "
            f"{waiting / seconds:.0%} of it waiting for data, the rest computing"
        )
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"the run is trained, but {folder.timings} is damaged ({type(error).__name__}: {error})"
        ) from error


def build_encoder(settings: EncoderSettings, source: ActivationDataset) -> nn.Module:
    """A fresh encoder for a source's hidden size and layers."""
    if settings.layer_aware:
        return LayerAwareProgressiveCompressor(
            source.store.hidden_size,
            layer_ids=source.layer_ids,
            embedding_dim=settings.embedding_dim,
            conditioning=settings.conditioning,
            dropout=settings.dropout,
        )
    return ProgressiveCompressor(
        source.store.hidden_size, embedding_dim=settings.embedding_dim, dropout=settings.dropout
    )
