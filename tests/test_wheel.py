"""The wheel holds every file of the rooms, and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from helpers.paths import ROOMS, ROOT


def files_of_the_rooms() -> set[str]:
    """Where each file of the rooms is installed."""
    return {
        f"kview/{path.relative_to(ROOT)}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def build_wheel(folder: Path, *left_out: str) -> set[str]:
    """Builds a wheel from a copy of the rooms; gives the files it would install.

    Args:
        folder: an empty one to work in.
        left_out: lines of pyproject.toml that the copy lacks.
    """
    tree, out = folder / "tree", folder / "wheel"
    for room in ROOMS:
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    lines = (ROOT / "pyproject.toml").read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.strip() not in left_out]
    assert len(kept) == len(lines) - len(left_out)
    (tree / "pyproject.toml").write_text("".join(kept))
    pip = [sys.executable, "-m", "pip", "wheel", str(tree), "--wheel-dir", str(out)]
    done = subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--no-index"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    [wheel] = out.iterdir()
    return {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_rooms_files(tmp_path: Path) -> None:
    assert build_wheel(tmp_path) == files_of_the_rooms()


def test_a_package_that_is_not_listed_is_missed(tmp_path: Path) -> None:
    built = build_wheel(tmp_path, '"kview.train.loss",', '"kview.eval.report" = ["templates/*"]')
    missing = files_of_the_rooms() - built
    assert "kview/train/loss/supcon.py" in missing
    assert "kview/eval/report/templates/report.html.j2" in missing
    assert {Path(name).parts[1:3] for name in missing} == {("train", "loss"), ("eval", "report")}
