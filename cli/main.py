"""`kview`: the commands, thin over the public functions."""

import json
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Union

import tyro
from rich.logging import RichHandler

from ..contracts import ConfigError, KViewError
from .console import err
from .demo import Demo, run_demo
from .evaluate import Evaluate, Report, run_evaluate, run_report
from .settings import RunSettings
from .stores import (
    Capture,
    Convert,
    Inspect,
    Verify,
    run_capture,
    run_convert,
    run_inspect,
    run_verify,
)
from .train import Train, run_train

_RUN = {
    Demo: run_demo,
    Inspect: run_inspect,
    Verify: run_verify,
    Convert: run_convert,
    Capture: run_capture,
    Train: run_train,
    Evaluate: run_evaluate,
    Report: run_report,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that the arguments name; exits 1 with one sentence where it cannot."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        print(f"kview {version('kview')}")
        return
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_time=False, show_path=False, show_level=False)],
    )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        command = tyro.cli(
            _commands(_settings_in(arguments)),
            prog="kview",
            description="Train on K views of language-model activations; detect hallucinations.",
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
        )
        _RUN[type(command)](command)
    except KViewError as error:
        err.print(f"kview: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        err.print("kview: interrupted; kview train --resume RUN goes on where it stopped")
        sys.exit(130)


def _commands(settings: RunSettings | None) -> Any:
    """The union of the commands; `train` starts from the settings of `--config`."""
    train = (
        Train()
        if settings is None
        else Train(
            store=settings.store,
            data=settings.data,
            encoder=settings.encoder,
            trainer=settings.trainer,
        )
    )
    names = {kind: kind.__name__.lower() for kind in _RUN}
    members = [
        Annotated[kind, tyro.conf.subcommand(name, default=train)]
        if kind is Train
        else Annotated[kind, tyro.conf.subcommand(name)]
        for kind, name in names.items()
    ]
    return Union[tuple(members)]  # noqa: UP007


def _settings_in(arguments: Sequence[str]) -> RunSettings | None:
    """The settings of `--config FILE`, which are the defaults of the other flags."""
    path = None
    for flag, value in zip(arguments, [*arguments[1:], None], strict=True):
        if flag == "--config":
            path = value
        elif flag.startswith("--config="):
            path = flag.removeprefix("--config=")
    if path is None:
        return None
    try:
        return RunSettings.from_dict(json.loads(Path(path).read_text()))
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(f"--config {path} is no run's config.json: {error}") from error
