"""The pages tell the truth: their code runs, their commands exist, the site has no broken link."""

import importlib
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from helpers.paths import ROOMS, ROOT
from helpers.sources import MemorySource
from kview.cli.main import main
from kview.contracts import KViewItem

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """A page's code blocks of a language."""
    return [block for kind, block in BLOCK.findall(page.read_text()) if kind == language]


# What a page's code takes for granted, by name, made small in the current folder.


def for_stores() -> dict[str, Any]:
    """One answer of 57 tokens."""
    return {"activations": np.zeros((33, 57, 4096), np.float16)}


def for_training() -> dict[str, Any]:
    """Sources of 256 hidden units, as wide as the encoder once `SMALLER` has been applied."""
    source = MemorySource(8, hidden_size=256)
    return {"train_source": source, "val_source": source}


def for_migration() -> dict[str, Any]:
    """Items of the pair era, by their old names."""
    names = [f"layer{i}_{what}" for i in (1, 2) for what in ("activations", "idx")]
    values = [torch.randn(3, 8), torch.tensor(0), torch.randn(3, 8), torch.tensor(5)]
    rest = {"halu": torch.tensor(1.0), "input_length": 4}
    return {
        "pairs": [
            {"hashkey": f"answer {i}", **dict(zip(names, values, strict=True)), **rest}
            for i in range(4)
        ]
    }


def nothing() -> dict[str, Any]:
    """The page stands alone."""
    return {}


# The pages whose code is run here; contracts and evaluating have tests of their own beside them.
RUN: dict[str, Callable[[], dict[str, Any]]] = {
    "README.md": nothing,
    "index.md": nothing,
    "migration.md": for_migration,
    "stores.md": for_stores,
    "training.md": for_training,
}
# The 20 epochs of the page on training would write gigabytes of checkpoints.
SMALLER = {"training.md": ("input_dim=4096", "input_dim=256")}
RUN_ELSEWHERE = {"contracts.md", "evaluating.md"}


@pytest.mark.parametrize("name", RUN)
def test_the_code_on_the_page_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = next(page for page in PAGES if page.name == name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = ModuleType("script")
    monkeypatch.setitem(sys.modules, "script", script)  # so that its classes can be pickled
    known = vars(script)
    known.update(RUN[name]())
    for number, block in enumerate(blocks(page, "python")):
        block = block.replace(*SMALLER.get(name, ("", "")))
        exec(compile(block, f"{name}[{number}]", "exec"), known)
    if name == "migration.md":
        batch = next(known["source"].batches(epoch=0, batch_size=4))
        assert batch.views_activations.shape == (4, 2, 3, 8)
        assert isinstance(known["Views"](known["pairs"])[0], KViewItem)


def test_every_page_with_code_is_run() -> None:
    with_code = {page.name for page in PAGES if blocks(page, "python")}
    assert with_code == {*RUN, *RUN_ELSEWHERE}


# Commands


def code(page: Path) -> list[str]:
    """All that a page sets as code, in blocks or in a line."""
    text = page.read_text().replace("\\\n", " ")
    fenced = [line for _, block in BLOCK.findall(text) for line in block.splitlines()]
    return fenced + re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))


def commands() -> dict[str, set[str]]:
    """Every `kview COMMAND` of every page, with the flags that stand behind it."""
    found: dict[str, set[str]] = {}
    for line in itertools.chain(*map(code, PAGES)):
        typed = line.partition(" #")[0]
        for name, rest in re.findall(r"(?:^|\s)(?:kview|-m kview\.cli) ([a-z]+)\b(.*)", typed):
            found.setdefault(name, set()).update(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest))
    return found


@pytest.mark.parametrize("name", sorted(commands()))
def test_the_commands_on_the_pages_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: kview {name}" in text
    assert {flag for flag in commands()[name] if flag not in text} <= {"--help"}


def test_commands_are_found_on_the_pages() -> None:
    assert {"capture", "convert", "evaluate", "inspect", "train", "verify"} <= commands().keys()
    assert {"--resume", "--num-views"} <= commands()["train"]


def test_make_targets_and_files_on_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        lines = code(page)
        named = {name for line in lines for name in re.findall(r"^make ([a-z]+)", line)}
        assert named <= targets, page.name
        text = page.read_text()
        files = re.findall(r"\b((?:examples|benchmarks)/\w+\.(?:py|ipynb))", text)
        assert [file for file in files if not (ROOT / file).is_file()] == [], page.name


# The site


def build_site(docs: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Builds the site as `make docs` does, from a folder of pages."""
    rooms = folder / "rooms" / "kview"
    rooms.mkdir(parents=True)
    for room in ROOMS:
        (rooms / room).symlink_to(ROOT / room)
    config = folder / "mkdocs.yml"
    config.write_text(f"docs_dir: {docs}\nINHERIT: {ROOT / 'mkdocs.yml'}\n")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-f", str(config), "-d", str(folder / "site")],
        capture_output=True,
        text=True,
        env={**os.environ, "KVIEW_ROOMS": str(rooms.parent)},
    )


def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    done = build_site(ROOT / "docs", tmp_path)
    assert done.returncode == 0, done.stderr
    for room in ("contracts", "data", "eval", "train"):
        reference = (tmp_path / "site" / "api" / f"{room}.html").read_text()
        ids = set(re.findall(r'id="kview\.' + room + r'\.([\w.]+)"', reference))
        # a function that is named after its module stands there as both
        names = set(importlib.import_module(f"kview.{room}").__all__)
        assert {n for n in names if n not in ids and f"{n}.{n}" not in ids} == set()
    contracts = (tmp_path / "site" / "api" / "contracts.html").read_text()
    assert 'id="kview.contracts.KViewBatch.flatten"' in contracts


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    for path in itertools.chain((ROOT / "docs").rglob("*.md"), (ROOT / "docs").rglob("*.svg")):
        copy = docs / path.relative_to(ROOT / "docs")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    with (docs / "index.md").open("a") as page:
        page.write("\n[nowhere](nowhere.md)\n")
    done = build_site(docs, tmp_path)
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr
