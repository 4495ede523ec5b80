"""A small package of somebody else: written, installed, broken on purpose, checked and typed."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import kview.contracts

ENCODER = '''
"""A downstream encoder; the second function and the dataclass are used wrongly on purpose."""
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from kview.contracts import KViewBatch


def mean_of_tokens(x: Float[Tensor, "M T H"]) -> Float[Tensor, "M H"]:
    return x.mean(1)


def forgets_an_axis(x: Float[Tensor, "M T H"]) -> Float[Tensor, "M H"]:
    return x.mean(0)


def size(batch: KViewBatch) -> int:
    return len(batch)


@dataclass
class Scores:
    of_samples: Float[Tensor, " B"]
    of_views: Float[Tensor, "B K"]
'''

PROGRAM = """
import jaxtyping, torch
from kview.contracts import checks, install_checks

def refused(action):
    try:
        action()
    except jaxtyping.TypeCheckError as error:
        assert "downstream_probe" in str(error), error
        return True
    return False

import downstream_probe.plain as plain
assert not refused(lambda: plain.forgets_an_axis(torch.zeros(3, 3, 2)))

with install_checks("downstream_probe"):
    import downstream_probe.encoder as probe
import downstream_probe.after as after

x = torch.zeros(4, 3, 2)
assert probe.mean_of_tokens(x).shape == (4, 2)
assert refused(lambda: probe.mean_of_tokens(x[0]))
assert refused(lambda: probe.mean_of_tokens(x.long()))
assert refused(lambda: probe.forgets_an_axis(x))
assert refused(lambda: probe.size({"halu": 1}))
assert refused(lambda: probe.Scores(torch.zeros(3), torch.zeros(4, 2)))
probe.Scores(torch.zeros(4), torch.zeros(4, 2))
with checks("off"):
    assert not refused(lambda: probe.forgets_an_axis(x))
assert not refused(lambda: after.forgets_an_axis(x))

install_checks(["downstream_probe.late", "another"])
import downstream_probe.late as late
assert refused(lambda: late.forgets_an_axis(x))
print("as expected")
"""


def install(folder: Path) -> None:
    """Installs the package into a folder, from a wheel made by hand: no build, no network."""
    wheel = folder.parent / "downstream_probe-1-py3-none-any.whl"
    info = "downstream_probe-1.dist-info"
    files = {
        f"downstream_probe/{name}.py": ENCODER for name in ("encoder", "plain", "after", "late")
    }
    files["downstream_probe/__init__.py"] = ""
    files[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: downstream-probe\nVersion: 1\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *options,
        "--target",
        str(folder),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True)


def test_install_checks_covers_what_is_imported_afterwards(tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site)
    program = f"import sys; sys.path.insert(0, {str(site)!r})\n{PROGRAM}"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert run.stdout == "as expected\n", run.stderr


TYPED = """
import torch
from torch import Tensor, nn

from kview.contracts import (
    EmbeddingBatch, KViewBatch, KViewItem, ViewEncoder, boundary, checks, install_checks,
    restore_views,
)


@boundary
def pool(batch: KViewBatch, temperature: float = 1.0) -> Tensor:
    return batch.views_activations.mean(2) / temperature


def right(batch: KViewBatch, encoder: nn.Module) -> list[KViewItem]:
    z: Tensor = pool(batch, temperature=2.0)
    z = ViewEncoder(encoder, layer_ids=[0, 1])(batch)
    EmbeddingBatch(z_views=z, hashkey=batch.hashkey, halu=batch.halu)
    with checks("full"), install_checks("package"):
        return batch.to("cpu").replace(halu=z[:, 0, 0]).unbatch()


def wrong(batch: KViewBatch, embeddings: EmbeddingBatch, z: Tensor) -> None:
    batch.halu = z  # frozen
    batch.labels  # unknown
    pool({"halu": z})  # a dict
    pool(embeddings)  # another contract
    pool(batch, temperature="hot")  # an argument's type
    pool(batch).num_views  # the result's type
    restore_views(z)  # missing
    KViewBatch(hashkey=["a"], halu=z, views_activations=z)  # missing
    KViewBatch(hashkey="a", halu=z, views_activations=z, input_length=z)  # a string
    KViewBatch(["a"], z, z, z)  # by position
    EmbeddingBatch(z_views=[1.0])  # no tensor
    checks("all")  # no level
"""


def test_pyright_reports_misuse_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    (tmp_path / "kview").mkdir()
    (tmp_path / "kview" / "contracts").symlink_to(Path(kview.contracts.__file__).parent)
    sample = tmp_path / "sample.py"
    sample.write_text(TYPED)
    (tmp_path / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "standard", "reportUnusedExpression": False})
    )
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pyright",
            "--outputjson",
            "--pythonpath",
            sys.executable,
            "sample.py",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    reported = {d["range"]["start"]["line"] for d in json.loads(run.stdout)["generalDiagnostics"]}
    lines = TYPED.splitlines()
    first = lines.index(next(line for line in lines if line.startswith("def wrong"))) + 1
    assert reported == set(range(first, len(lines)))
