"""`kview evaluate --matrix`."""

import json

from helpers.commands import error_of, sibling, train
from kview.cli.main import main
from kview.cli.opened_run import open_run
from kview.cli.scored_run import detect
from kview.data import ActivationDataset
from kview.train import RunFolder


def test_a_matrix_of_runs_and_stores(store, tmp_path, capsys):
    for name in ("one", "two"):
        train(store, tmp_path / name)
    sibling(tmp_path / "other.zarr")
    runs = [str(tmp_path / name) for name in ("one", "two")]
    stores = ["--stores", str(tmp_path / "other.zarr")]
    main(["evaluate", "--matrix", *runs, *stores, "--out", str(tmp_path / "matrix")])
    cells = json.loads((tmp_path / "matrix" / "matrix.json").read_text())["cells"]
    assert [(c["run"], c["store"]) for c in cells] == [
        (run, where) for run in ("one", "two") for where in ("its own test rows", "other.zarr")
    ]
    assert "other.zarr" in capsys.readouterr().out
    assert (tmp_path / "matrix" / "matrix.html").is_file()
    assert "needs --out DIR" in error_of(capsys, "evaluate", "--matrix", *runs)
    assert "no effect without --matrix" in error_of(capsys, "evaluate", runs[0], *stores)


def test_a_matrix_needs_names_that_differ(tmp_path, capsys):
    runs = [str(tmp_path / name / "run") for name in ("a", "b")]
    error = error_of(capsys, "evaluate", "--matrix", *runs, "--out", str(tmp_path / "matrix"))
    assert "['run', 'run'] repeat one" in error


def test_a_run_or_a_store_that_fails_is_named_and_the_others_go_on(store, tmp_path, capsys):
    for name in ("one", "two"):
        train(store, tmp_path / name)
    (tmp_path / "one" / "encoder.safetensors").write_bytes(b"damaged")
    sibling(tmp_path / "other.zarr")
    runs = [str(tmp_path / name) for name in ("one", "two")]
    stores = ["--stores", str(tmp_path / "none.zarr"), str(tmp_path / "other.zarr")]
    said = error_of(
        capsys, "evaluate", "--matrix", *runs, *stores, "--out", str(tmp_path / "matrix")
    )
    assert said.splitlines()[-1] == ("kview: failed: one, two on none.zarr; the rest is done")
    cells = json.loads((tmp_path / "matrix" / "matrix.json").read_text())["cells"]
    assert [c["store"] for c in cells if c["run"] == "one" and "reason" in c] == [
        *("its own test rows", "none.zarr", "other.zarr")
    ]
    scored = [(c["run"], c["store"]) for c in cells if "reason" not in c]
    assert scored == [("two", "its own test rows"), ("two", "other.zarr")]
    assert (
        "no Zarr group"
        in next(c for c in cells if c["store"] == "none.zarr" and c["run"] == "two")["reason"]
    )


def test_each_run_is_fitted_once(store, tmp_path, monkeypatch):
    train(store, tmp_path / "one")
    for name in ("other", "third"):
        sibling(tmp_path / f"{name}.zarr")
    read: list[tuple[str, ...]] = []
    batches = ActivationDataset.batches

    def counted(self, **reading):
        read.append(tuple(self.hashkeys))
        return batches(self, **reading)

    monkeypatch.setattr(ActivationDataset, "batches", counted)
    stores = [str(tmp_path / f"{name}.zarr") for name in ("other", "third")]
    out = str(tmp_path / "matrix")
    main(["evaluate", "--matrix", str(tmp_path / "one"), "--stores", *stores, "--out", out])
    run = open_run(RunFolder(tmp_path / "one"))
    assert run.val is not None
    own = [tuple(rows.hashkeys) for rows in (run.train, run.val)]
    assert read[:2] == own  # and then the test rows, and those of each store
    assert [keys in own for keys in read[2:]] == [False] * 3
    cells = json.loads((tmp_path / "matrix" / "matrix.json").read_text())["cells"]
    apart = detect(RunFolder(tmp_path / "one"), stores[0]).evaluation
    auroc = next(c for c in cells if c["store"] == "other.zarr")["detectors"]["knn"]["auroc"]
    assert auroc == apart.detectors["knn"].auroc
