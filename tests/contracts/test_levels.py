"""Levels: the environment, blocks, threads, processes, pytest's option."""

import multiprocessing
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.workers import tell_level
from kview.contracts import ConfigError, ContractError, KViewBatch, checks, current_level
from kview.contracts.levels import VARIABLE, Level

# Python 3.12 and later warn of every fork beside torch's threads
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def test_the_default_is_shape() -> None:
    assert current_level() == "shape"


def test_the_variable_is_read_where_it_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "full")
    assert current_level() == "full"
    monkeypatch.setenv(VARIABLE, "off")
    assert current_level() == "off"


def test_an_unknown_level_is_refused(monkeypatch: pytest.MonkeyPatch, batch: KViewBatch) -> None:
    with pytest.raises(ConfigError, match=r"checks\(...\) is 'all'; it takes one of off, shape"):
        checks("all").__enter__()  # pyright: ignore[reportArgumentType]
    monkeypatch.setenv(VARIABLE, "1")
    with pytest.raises(ConfigError, match="KVIEW_CHECKS is '1'; it takes one of off, shape, full"):
        batch.replace()


def test_blocks_nest_and_win_over_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "off")
    with checks("full"):
        assert current_level() == "full"
        with checks("shape"):
            assert current_level() == "shape"
        assert current_level() == "full"
        with pytest.raises(KeyError), checks("off"):
            raise KeyError
        assert current_level() == "full"
    assert current_level() == "off"


def test_a_block_decorates_a_function() -> None:
    @checks("full")
    def inside() -> str:
        return current_level()

    assert inside() == "full"
    assert current_level() == "shape"


def test_off_builds_anything_and_full_sees_values(batch: KViewBatch) -> None:
    x = torch.full_like(batch.views_activations, torch.nan)
    assert batch.replace(views_activations=x).views_activations is x
    with checks("full"), pytest.raises(ContractError):
        batch.replace(views_activations=x)
    with checks("off"):
        assert batch.replace(halu=None).halu is None


def test_meta_tensors_are_checked_for_everything_but_values(batch: KViewBatch) -> None:
    for level in ("shape", "full"):
        with checks(level):
            meta = batch.to("meta")
            assert KViewBatch(**dict(meta)).views_activations.is_meta
            with pytest.raises(ContractError, match="axis B"):
                meta.replace(halu=torch.zeros(4, device="meta"))


def test_threads_do_not_see_each_others_blocks(batch: KViewBatch) -> None:
    seen: dict[str, str] = {}
    inside, done = threading.Event(), threading.Event()

    def thread() -> None:
        seen["new thread"] = current_level()
        with checks("full"):
            inside.set()
            done.wait(10)
            seen["in its block"] = current_level()

    with checks("off"):
        other = threading.Thread(target=thread)
        other.start()
        inside.wait(10)
        seen["here"] = current_level()
        done.set()
        other.join()
    assert seen == {"new thread": "shape", "in its block": "full", "here": "off"}


def test_many_threads_check_at_once(batch: KViewBatch) -> None:
    """The table of axes is each thread's own."""
    wrong: list[object] = []

    def thread(size: int) -> None:
        z = torch.zeros(size, 2)
        for _ in range(50):
            valid = KViewBatch(
                hashkey=["a"] * size,
                halu=z[:, 0],
                views_activations=z[:, :, None, None],
                input_length=torch.zeros(size, dtype=torch.long),
            )
            try:
                valid.replace(hashkey=["a"] * (size + 1))
            except ContractError as error:
                wrong.extend(v for v in error.violations if str(size) not in v.got)
            else:
                wrong.append(size)

    threads = [threading.Thread(target=thread, args=(size,)) for size in range(1, 9)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.parametrize(
    ("method", "block", "variable", "expected"),
    [
        ("fork", "full", None, "full"),
        ("spawn", "full", None, "shape"),
        ("fork", None, "full", "full"),
        ("spawn", None, "full", "full"),
    ],
)
def test_processes_inherit_the_variable_and_forked_ones_the_block_too(
    method: str,
    block: Level | None,
    variable: str | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)
    context: Any = multiprocessing.get_context(method)
    queue = context.Queue()
    with checks(block) if block else nullcontext():
        process = context.Process(target=tell_level, args=(queue,))
        process.start()
    assert queue.get(timeout=60) == expected
    process.join()


DOWNSTREAM_TEST = """
import os
import torch
import pytest
from kview.contracts import ContractError, KViewBatch, current_level

def test_level():
    assert current_level() == {level!r}

def test_nan():
    fields = dict(hashkey=["a"], halu=torch.zeros(1), input_length=torch.ones(1).long(),
                  views_activations=torch.full((1, 2, 1, 1), torch.nan))
    if {level!r} == "full":
        with pytest.raises(ContractError):
            KViewBatch(**fields)
    else:
        KViewBatch(**fields)
"""


def test_pytests_option_sets_the_level_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(DOWNSTREAM_TEST.format(level="full"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--kview-checks=full", "."]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "kview checks: full" in run.stdout


@pytest.mark.parametrize("level", ["off", "shape"])
def test_pytests_option_puts_the_variable_back(tmp_path: Path, level: str) -> None:
    path = tmp_path / f"test_level_{level}.py"
    path.write_text(DOWNSTREAM_TEST.format(level=level))
    options = ["-p", "no:cacheprovider", "-q", f"--rootdir={tmp_path}"]
    assert pytest.main([*options, f"--kview-checks={level}", str(path)]) == 0
    assert VARIABLE not in os.environ


def test_pytests_option_refuses_an_unknown_level(capsys: pytest.CaptureFixture[str]) -> None:
    assert pytest.main(["--kview-checks=some"]) == pytest.ExitCode.USAGE_ERROR
    assert "invalid choice: 'some'" in capsys.readouterr().err


def test_checks_survive_the_switches_that_silence_jaxtyping() -> None:
    program = (
        "import torch; from kview.contracts import EmbeddingBatch\n"
        "try: EmbeddingBatch(z_views=torch.zeros(3, 4))\n"
        "except ValueError: print('refused')"
    )
    run = subprocess.run(
        [sys.executable, "-O", "-c", program],
        env={**os.environ, "JAXTYPING_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "refused\n"
