"""Damage to a HalluLens store is listed by `verify_store`."""

import json
from pathlib import Path

from helpers.foreign_stores import Grid, foreign
from kview.data import verify_store


def truncate(file: Path, by: int) -> None:
    file.write_bytes(file.read_bytes()[:-by])


def test_a_hallulens_store_is_verified(tmp_path: Path) -> None:
    written = foreign(grid=Grid(chunks=(1, 1, 2, 2)), lengths=[4, 2, 0, 4, 3], allocated=8, top_k=1)
    path = written.write(tmp_path / "a.zarr")
    assert verify_store(path) == []
    arrays = path / "arrays/response_activations"
    (arrays / "0.1.1.0").unlink()
    (arrays / "1.0.1.0").unlink(missing_ok=True)  # behind the tokens of row 1
    truncate(arrays / "3.2.0.0", 2)
    (arrays / "4.0.0.0").write_bytes((arrays / "4.0.0.0").read_bytes() + b"12")
    lines = (path / "meta/index.jsonl").read_text().splitlines()
    entry = json.loads(lines[1])
    lines += [
        "nonsense",
        json.dumps({**entry, "key": "out", "sample_index": 70}),
        json.dumps({**entry, "key": "twice", "sample_index": 4, "response_len": 3}),
        json.dumps({**entry, "response_len": 1}),
    ]
    (path / "meta/index.jsonl").write_text("\n".join(lines))
    found = [(d.array, d.row, d.layer, d.problem) for d in verify_store(path)]
    index, data = "meta/index.jsonl", "arrays/response_activations"
    expected = [
        (index, None, None, "line 6 is malformed"),
        (index, 70, None, "not a row"),
        (index, 4, None, "lines 5 and 8 give it to different keys"),
        (index, 1, None, "response_len is 1"),
        (data, 0, 1, "chunk is missing"),
        (data, 3, 2, "chunk is truncated"),
        (data, 4, 0, "chunk is too long"),
    ]
    assert [f[:3] for f in found] == [e[:3] for e in expected]
    assert all(e[3] in f[3] for e, f in zip(expected, found, strict=True))
