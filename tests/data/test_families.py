"""Families of stores: kview's own, and one that another package brings."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import error_of
from helpers.paths import EXAMPLES
from kview.cli.main import main
from kview.contracts import StoreError
from kview.data import ActivationStore, verify_store, write_synthetic_store

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts packages where Python finds them, as pip would: their files and their metadata."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delitem(sys.modules, "own_family", raising=False)

    def put(package: str, *points: str, source: str = "") -> None:
        monkeypatch.delitem(sys.modules, package, raising=False)
        metadata = site / f"{package}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0")
        (metadata / "entry_points.txt").write_text("\n".join(["[kview.stores]", *points]))
        (site / f"{package}.py").write_text(source)

    return put


def write_answers(folder: Path, rows: int = 48, seed: int = 0) -> np.ndarray:
    """A store of the example's family; its values, (rows, 5, 3, 16)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 5, 3, 16)).astype(np.float16)
    folder.mkdir()
    np.save(folder / "activations.npy", x)
    said = {
        "model": "mine",
        "layers": [0, 2, 4, 6, 8],
        "tokens": [3, 2, 1] * (rows // 3),
        "halu": [0, 1] * (rows // 2),
        "keys": [f"answer {row}" for row in range(rows)],
    }
    (folder / "answers.json").write_text(json.dumps(said))
    return x


def test_a_family_of_another_package_is_read_like_kviews_own(
    install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("answers", "answers = own_family:ANSWERS")
    folder, copy, run = (tmp_path / name for name in ("mine", "copy.zarr", "run"))
    x = write_answers(folder)
    with ActivationStore.open(folder) as store:
        assert store.layer_ids == (0, 2, 4, 6, 8)
        np.testing.assert_array_equal(store.read([4], [[1, 3]])[0, :, :2], x[4, [1, 3], :2])
        assert not store.read([4], [[1, 3]])[0, :, 2:].any()
    main(["inspect", str(folder)])
    assert "schema answers; model mine" in capsys.readouterr().out
    main(["verify", str(folder)])
    assert "no damage found" in capsys.readouterr().out
    main(["convert", str(folder), str(copy)])
    assert "48 rows, every value compared" in capsys.readouterr().out
    main(["train", str(folder), "--out", str(run), "--max-epochs", "1", "--batch-size", "8"])
    main(["evaluate", str(run)])
    assert (run / "evaluation.json").exists()


def test_its_damage_is_told(install: Install, tmp_path: Path) -> None:
    install("answers", "answers = own_family:ANSWERS")
    x = write_answers(tmp_path / "mine")
    x[2, 1, 0, 5] = np.nan
    np.save(tmp_path / "mine/activations.npy", x)
    assert [str(d) for d in verify_store(tmp_path / "mine")] == [
        "activations.npy, row 2: not finite"
    ]
    np.save(tmp_path / "mine/activations.npy", x[:7])
    [damage] = verify_store(tmp_path / "mine")
    assert "48 rows and activations.npy 7" in damage.problem


@pytest.mark.parametrize(
    ("point", "source", "problem"),
    [
        ("broken:FAMILY", "1 / 0", "ZeroDivisionError: division by zero"),
        ("broken:FAMILY", "", "AttributeError"),
        ("broken.part:FAMILY", "", "ModuleNotFoundError"),
        ("broken:FAMILY", "FAMILY = 7", "it is 7"),
    ],
)
def test_a_family_that_cannot_be_loaded_names_its_package(
    install: Install, tmp_path: Path, point: str, source: str, problem: str
) -> None:
    install("broken", f"mine = {point}", source=source)
    (tmp_path / "mine").mkdir()
    with pytest.raises(StoreError, match=r"package broken brings .* 'mine'") as caught:
        ActivationStore.open(tmp_path / "mine")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_kviews_own_families_are_asked_first_and_need_no_other_package(
    install: Install, tmp_path: Path
) -> None:
    install("broken", "mine = broken:FAMILY", source="1 / 0")
    write_synthetic_store(
        tmp_path / "activations.zarr", num_rows=4, num_layers=2, hidden_size=4, max_tokens=2
    )
    assert len(ActivationStore.open(tmp_path)) == 4
    assert verify_store(tmp_path) == []


def test_two_families_that_take_one_store_are_refused(install: Install, tmp_path: Path) -> None:
    install("one", "a = own_family:ANSWERS")
    install("two", "b = own_family:ANSWERS")
    write_answers(tmp_path / "mine")
    with pytest.raises(StoreError, match="families answers and answers both take it"):
        ActivationStore.open(tmp_path / "mine")


def test_what_nobody_knows_is_told_with_the_families_there_are(
    install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("answers", "answers = own_family:ANSWERS")
    error = error_of(capsys, "inspect", str(tmp_path / "nothing"))
    assert "no Zarr group" in error
    assert "(families of stores: native, hallulens, hallulens_capture, array, answers)" in error
