"""`kview`: the commands, thin over the public functions."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn, Union

import torch.distributed as dist
import tyro
from rich.logging import RichHandler

from ..contracts import ConfigError, KViewError
from ..train import RunFolder
from ..train.loss.gather import is_distributed
from .advice import is_out_of_memory, out_of_memory
from .console import err, is_first
from .demo import Demo, run_demo
from .evaluate import Evaluate, Report, run_evaluate, run_report
from .failures import sentence
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
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if arguments == ["--version"]:
        print(f"kview {version('kview')}")
        return
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_time=False, show_path=False, show_level=False)],
    )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    command = None
    try:
        command = tyro.cli(
            _commands(_settings_in(arguments)),
            prog="kview",
            description="Train on K views of language-model activations; detect hallucinations.",
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
        )
        _RUN[type(command)](command)
        if is_distributed():
            dist.barrier()  # whoever leaves first would pull the others' connections down
            dist.destroy_process_group()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on
        sys.exit(141)
    except (KViewError, OSError) as error:
        fail(sentence(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        fail(out_of_memory(command, error))
    except KeyboardInterrupt:
        fail("interrupted", code=130)


def fail(message: str, code: int = 1) -> NoReturn:
    """Ends the program with a sentence on stderr, from whichever process it is."""
    who = "kview" if is_first() else f"kview [process {os.environ.get('RANK')}]"
    print(f"{who}: {message}", file=sys.stderr)
    sys.exit(code)


def _commands(settings: RunSettings | None) -> Any:
    """The union of the commands; `train` starts from the settings of `--config`."""
    train = Train()
    if settings is not None:
        train = Train(
            store=settings.store,
            data=settings.data,
            encoder=settings.encoder,
            trainer=settings.trainer,
        )
    members = [
        Annotated[kind, tyro.conf.subcommand("train", default=train)]
        if kind is Train
        else Annotated[kind, tyro.conf.subcommand(kind.__name__.lower())]
        for kind in _RUN
    ]
    return Union[tuple(members)]  # noqa: UP007


def _settings_in(arguments: Sequence[str]) -> RunSettings | None:
    """The settings of `--config FILE` or `--resume RUN`, the defaults of the other flags."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--config", "--resume"):
        parser.add_argument(flag, nargs="?")  # where the value is missing, tyro says so
    given, _ = parser.parse_known_args(arguments)
    if given.resume is not None:
        return RunSettings.from_dict(RunFolder(given.resume).read_config())
    if given.config is None:
        return None
    try:
        return RunSettings.from_dict(json.loads(Path(given.config).read_text()))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config {given.config} is no run's config.json: {error}") from error
