"""Every example runs as it stands; the notebook's stored outputs are those of its code."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.paths import EXAMPLES

# In this process, where warnings are errors; and what it prints.
SCRIPTS = {
    "capture_tiny_model": "layers (0, 1, 2, 3, 4), 32 train rows",
    "own_arrays": "40 rows, layers (4, 8, 12, 16, 20), H=64",
    "own_encoder": "the same embeddings, bit for bit",
    "own_family": "8 answers at 4 of 5 layers",
    "own_evaluator": "class 1: 300 pairs of views",
    "plain_loop": "3 in input_length",
    "ten_lines": "mahalanobis  AUROC 0.",
    "two_processes": "epoch 2",
}
# In a process of their own: Lightning warns, torchrun starts processes.
COMMANDS = {
    "lightning_loop": [sys.executable],
    "two_processes": [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"],
}


def run(name: str, folder: Path) -> str:
    """What an example prints, run by its command in a folder."""
    done = subprocess.run(
        [*COMMANDS[name], str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_here(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What an example prints, run in this process."""
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_runs(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert SCRIPTS[name] in run_here(name, capsys)
    assert list(tmp_path.iterdir()) == []  # examples tidy up


def test_lightning_trains_on_our_batches(tmp_path: Path) -> None:
    assert "intra_cos" in run("lightning_loop", tmp_path)


def test_two_processes_print_the_losses_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = run("two_processes", tmp_path)
    losses = [float(line.split()[-1]) for line in two.splitlines() if line.startswith("epoch")]
    one = run_here("two_processes", capsys)
    assert losses == pytest.approx([float(line.split()[-1]) for line in one.splitlines()], abs=2e-4)
    assert len(losses) == 3


def test_every_example_is_run() -> None:
    found = {path.stem for path in EXAMPLES.glob("*.py")}
    assert found == {*SCRIPTS, *COMMANDS}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda p: p.stem)
def test_the_notebook_runs_and_holds_its_outputs(path: Path, tmp_path: Path) -> None:
    stored = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    NotebookClient(
        fresh, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert outputs(stored) == outputs(fresh)
    assert any("image/svg+xml" in kinds for kinds in outputs(stored))


def outputs(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """The kinds of every code cell's outputs: figures may differ in their last digits."""
    return [
        sorted(k for output in cell.outputs for k in output.get("data", {output.output_type: 0}))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
