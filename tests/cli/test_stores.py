"""What is done with stores on the command line."""

import json
from pathlib import Path

import pytest

from helpers.captures import capture
from helpers.plain_arrays import save_array, values, write
from helpers.tiny_models import save
from kview.cli.main import main
from kview.data import ActivationStore, write_synthetic_store


@pytest.fixture
def store(tmp_path) -> Path:
    path = tmp_path / "store.zarr"
    write_synthetic_store(path, num_rows=20, num_layers=3, hidden_size=8, max_tokens=4, seed=1)
    return path


def test_inspect_prints_a_page(store, capsys):
    main(["inspect", str(store)])
    page = capsys.readouterr().out
    for part in ("20 rows", "3 layers", "hidden size 8", "10 hallucinated, 10 not", "█", "norms"):
        assert part in page


def test_inspect_as_json_has_the_same(store, capsys):
    main(["inspect", str(store), "--json"])
    summary = json.loads(capsys.readouterr().out)
    assert (summary["rows"], summary["layer_ids"], summary["hidden_size"]) == (20, [0, 1, 2], 8)
    assert summary["labels"] == {"1": 10, "0": 10}


def test_verify_of_a_sound_store_says_so(store, capsys):
    main(["verify", str(store)])
    assert "no damage found" in capsys.readouterr().out


def test_verify_lists_damage_and_fails(store, capsys):
    shard = store / "activations" / "c.0.0.0.0"
    content = bytearray(shard.read_bytes())
    content[5] ^= 0xFF
    shard.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(store)])
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert "activations, row 0, layer 0" in printed.out
    assert "kview: 1 problem in" in printed.err


def test_convert_copies_and_compares(store, tmp_path, capsys):
    main(["convert", str(store), str(tmp_path / "copy.zarr")])
    assert "20 rows, every value compared" in capsys.readouterr().out
    with ActivationStore.open(store) as a, ActivationStore.open(tmp_path / "copy.zarr") as b:
        assert (a.read([3], [[0, 2]]) == b.read([3], [[0, 2]])).all()


def test_a_capture_of_hallulens_goes_through_every_command(tmp_path, capsys):
    written = capture(rows=48, hidden=8, lengths=[1, 2, 3, 7] * 12)
    path, copy, run = written.write(tmp_path / "a"), tmp_path / "copy.zarr", tmp_path / "run"
    main(["inspect", str(path)])
    page = capsys.readouterr().out
    for part in ("48 rows of 51 allocated", "inference_capture_v1", "24 hallucinated, 24 not"):
        assert part in page
    assert "note" not in page
    main(["verify", str(path)])
    assert "no damage found" in capsys.readouterr().out
    main(["convert", str(path), str(copy)])
    assert "48 rows, every value compared" in capsys.readouterr().out
    with ActivationStore.open(copy) as store:
        assert dict(zip(store.hashkeys, store.halu.tolist(), strict=True)) == dict(
            zip(written.keys, written.halu, strict=True)
        )
        assert store.texts().keys() == set(written.keys)
        with ActivationStore.open(path) as capture_store:
            assert store.logprobs(range(48)) == capture_store.logprobs(range(48))
    main(["train", str(path), "--out", str(run), "--max-epochs", "1", "--batch-size", "8"])
    main(["evaluate", str(run)])
    assert (run / "evaluation.json").exists()


def test_a_plain_array_goes_through_every_command(tmp_path, capsys):
    copy, run = tmp_path / "copy.zarr", tmp_path / "run"
    rows = [{"halu": i % 2, "prompt": f"p{i}", "token_count": 1 + i % 3} for i in range(48)]
    axes = ("layer", "row", "token", "hidden")
    file = write(tmp_path / "x.safetensors", values(48, hidden=8), axes, rows=rows, model="m")
    main(["inspect", str(file)])
    page = capsys.readouterr().out
    for part in ("48 rows;", "schema array.safetensors; model m", "24 hallucinated, 24 not"):
        assert part in page
    main(["verify", str(file)])
    assert "no damage found" in capsys.readouterr().out
    main(["convert", str(file), str(copy)])
    assert "48 rows, every value compared" in capsys.readouterr().out
    main(["train", str(file), "--out", str(run), "--max-epochs", "1", "--batch-size", "8"])
    main(["evaluate", str(run)])
    assert (run / "evaluation.json").exists()


def test_an_array_without_names_is_one_sentence(tmp_path, capsys):
    file = save_array(tmp_path / "x.npy", values())
    for command in ("inspect", "verify", "train"):
        with pytest.raises(SystemExit) as ended:
            main([command, str(file), *(["--out", str(tmp_path / "run")] * (command == "train"))])
        assert ended.value.code == 1
        said = "".join(capsys.readouterr())
        assert "nothing says which axis is which; name them in x.axes.json" in said
        assert "Traceback" not in said


def test_a_missing_store_is_one_sentence(tmp_path, capsys):
    for command in ("inspect", "verify"):
        with pytest.raises(SystemExit) as ended:
            main([command, str(tmp_path / "nothing")])
        assert ended.value.code == 1
        error = capsys.readouterr().err
        assert error.startswith("kview: ")
        assert error.count("\n") == 1


def test_capture_keeps_a_models_hidden_states(tmp_path, capsys):
    model, store = save(tmp_path / "model", "causal"), tmp_path / "store.zarr"
    lines = [
        {"prompt": "w1 w2", "response": "w3 w4", "halu": True},
        {"prompt": "w5", "response": "w6", "halu": False},
    ]
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = ["--model", str(model), "--input", str(tmp_path / "qa.jsonl"), "--out", str(store)]
    main(["capture", *flags, "--layers", "0", "2", "--max-tokens", "4", "--device", "cpu"])
    assert "2 rows (0 were there already)" in capsys.readouterr().out
    with ActivationStore.open(store) as found:
        assert (len(found), found.layer_ids, found.max_tokens) == (2, (0, 2), 4)
    main(["capture", *flags, "--layers", "0", "2", "--max-tokens", "4", "--device", "cpu"])
    assert "2 rows (2 were there already)" in capsys.readouterr().out
