"""Stores that were made to do harm: each answers with one sentence, and nothing else happens.

The table of attacks in docs/stores.md has a row for each of these.
"""

import json
import os
import pickle
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs import Zlib

from helpers.foreign_stores import Grid, foreign
from helpers.paths import ROOT
from helpers.written_rows import append_rows
from kview.contracts import StoreError
from kview.data import ActivationStore, ActivationWriter, verify_store

MOST_MEMORY = 2**26
HUGE = 10**14
DATA, KEYS, LENGTHS = "arrays/response_activations", "arrays/sample_key", "arrays/response_len"


def native(folder: Path) -> Path:
    with ActivationWriter.create(
        folder / "a.zarr", layers=[0, 3, 7], hidden_size=5, max_tokens=4, model="m", durable=False
    ) as writer:
        append_rows(writer, 5)
    return folder / "a.zarr"


def plain(folder: Path) -> Path:
    return foreign(index=[], top_k=1).write(folder / "a.zarr")


def indexed(folder: Path) -> Path:
    return foreign().write(folder / "a.zarr")


def version3(folder: Path) -> Path:
    return foreign(grid=Grid(chunks=(1, 1, 4, 2), zarr_format=3)).write(folder / "a.zarr")


def compressed(folder: Path) -> Path:
    return foreign(grid=Grid(chunks=(1, 1, 4, 2), compressors=[Zlib()])).write(folder / "a.zarr")


def put(name: str, *places: Any) -> Callable[[Path], None]:
    """Puts a value in a file of JSON: the keys that lead there, and then what goes there."""

    def change(path: Path) -> None:
        found = at = json.loads((path / name).read_text())
        *way, last, value = places
        for key in way:
            at = at[key]
        at[last] = value
        (path / name).write_text(json.dumps(found))

    return change


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda path: (path / name).write_bytes(data)


def first_file(path: Path, array: str) -> Path:
    """The file of an array's first chunk."""
    return min(p for p in (path / array).iterdir() if "json" not in p.name and p.name[0] != ".")


def instead(array: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something else in the place of an array's first chunk."""

    def change(path: Path) -> None:
        file = first_file(path, array)
        file.unlink()
        make(file)

    return change


def link_out(file: Path) -> None:
    secret = next(p.parent for p in file.parents if p.name == "a.zarr") / "secret"
    secret.write_bytes(bytes(1000))
    file.symlink_to(secret)


def link_folder_out(path: Path) -> None:
    (path / "halu").rename(path.parent / "elsewhere")
    (path / "halu").symlink_to(path.parent / "elsewhere")


def make_sparse(file: Path) -> None:
    file.touch()
    os.truncate(file, 2**40)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.path,)


def pickled(path: Path) -> None:
    put(f"{KEYS}/.zarray", "filters", [{"id": "pickle", "protocol": 5}])(path)
    trap = np.array([Trap(path.parent / "sprung")] * 7, object)
    first_file(path, KEYS).write_bytes(pickle.dumps(trap))


def break_zlib(path: Path) -> None:
    first_file(path, DATA).write_bytes(b"not zlib at all")


V3, NATIVE = f"{DATA}/zarr.json", "activations/zarr.json"
NESTED = b"[" * 100_000
SHARDS = ("codecs", 0, "configuration", "chunk_shape")
ATTACKS: list[tuple[str, Callable[[Path], Path], Callable[[Path], object], str]] = [
    ("separator", plain, put(f"{DATA}/.zarray", "dimension_separator", "/../"), "separator '/../'"),
    (
        "separator of version 3",
        version3,
        put(V3, "chunk_key_encoding", "configuration", "separator", "/../../"),
        "separator '/../../' is neither '.' nor '/'",
    ),
    ("keys of their own", version3, put(V3, "chunk_key_encoding", "name", "mine"), "'mine' is unk"),
    ("link of a chunk", indexed, instead(DATA, link_out), "is a link out of the store"),
    ("link of a compressed chunk", compressed, instead(DATA, link_out), "link out of the store"),
    ("link of a column", native, instead("halu", link_out), "c.0 is a link out of the store"),
    ("link of an array", native, link_folder_out, "halu/zarr.json is a link out of the store"),
    ("loop of links", indexed, instead(DATA, lambda f: f.symlink_to(f)), "cannot be read|missing"),
    ("folder as a chunk", indexed, instead(DATA, Path.mkdir), "is no file"),
    ("pipe as a chunk", indexed, instead(DATA, os.mkfifo), "is no file"),
    ("folder as a column", native, instead("halu", Path.mkdir), "halu/c.0 is no file"),
    ("pipe as a column", native, instead("hashkey", os.mkfifo), "hashkey/c.0 is no file"),
    ("sparse column", native, instead("halu", make_sparse), "checksum|truncated or damaged"),
    ("rows", native, put("zarr.json", "attributes", "rows", HUGE), "rows"),
    ("rows of an array", plain, put(f"{DATA}/.zarray", "shape", 0, HUGE), "has 1.*0 rows, more"),
    ("layers", plain, put(f"{DATA}/.zarray", "shape", 1, HUGE), "values along an axis"),
    ("hidden size", plain, put(f"{DATA}/.zarray", "shape", [5, 3, 2**20, 2**20]), "in a layer of"),
    ("chunk", plain, put(f"{DATA}/.zarray", "chunks", [2**17, 2**17, 4, 2]), "bytes in a chunk"),
    ("chunks", plain, put(f"{DATA}/.zarray", "shape", [2**28, 2**20, 4, 2]), "chunks, more than"),
    (
        "shard",
        native,
        put(NATIVE, "chunk_grid", "configuration", "chunk_shape", 0, HUGE),
        "in a sh",
    ),
    ("chunk of nothing", plain, put(f"{DATA}/.zarray", "chunks", 0, 0), "or are empty"),
    ("column's chunk of nothing", plain, put(f"{LENGTHS}/.zarray", "chunks", [0]), "or are empty"),
    ("rank", plain, put(f"{DATA}/.zarray", "chunks", [1, 1]), "ranks differ"),
    ("no axes", plain, put(f"{LENGTHS}/.zarray", "shape", []), "ranks differ"),
    ("negative size", plain, put(f"{DATA}/.zarray", "shape", 0, -5), "is no list of sizes"),
    ("size that is no number", plain, put(f"{DATA}/.zarray", "shape", 0, "5"), "no list of sizes"),
    ("uneven shards", native, put(NATIVE, *SHARDS, 2, 3), "do not divide shards"),
    ("pickled objects", plain, pickled, "codec 'pickle' is unknown"),
    ("objects", plain, put(f"{DATA}/.zarray", "dtype", "|O"), "only strings"),
    ("dtype", plain, put(f"{DATA}/.zarray", "dtype", "<M8[s]"), "neither a number nor a string"),
    ("codec", compressed, put(f"{DATA}/.zarray", "compressor", "id", "mine"), "'mine' is unknown"),
    ("broken zlib", compressed, break_zlib, "cannot be decoded"),
    ("infinity", native, put("zarr.json", "attributes", "rows", float("inf")), "rows"),
    ("fill value", plain, put(f"{LENGTHS}/.zarray", "fill_value", {"a": 1}), "not Zarr array meta"),
    ("nested metadata", native, write("zarr.json", NESTED), "nested too deeply"),
    ("nested array metadata", native, write("halu/zarr.json", NESTED), "nested too deeply"),
    ("nested index", indexed, write("meta/index.jsonl", NESTED), "line 1 .*nested too deeply"),
    ("metadata of 20 MB", native, write("halu/zarr.json", b" " * 20_000_000), "more than 16777216"),
    (
        "integer",
        native,
        write("zarr.json", b'{"attributes": {"rows": %s}}' % (b"9" * 5000)),
        "4300",
    ),
    (
        "length in the index",
        indexed,
        write("meta/index.jsonl", b'{"key": "a", "sample_index": 0, "input_length": 1e300}'),
        "not a count",
    ),
    (
        "huge length in the index",
        indexed,
        write("meta/index.jsonl", b'{"key": "a", "sample_index": 0, "input_length": %d}' % HUGE),
        "not a count",
    ),
    ("strings", plain, lambda p: first_file(p, KEYS).write_bytes(b"\xff" * 64), "4294967295 str"),
    ("negative prompt", plain, put("arrays/prompt_len/.zarray", "fill_value", -3), "prompt_len"),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Gives copies of the stores, each of which is made once."""
    made: dict[str, Path] = {}

    def copy(make: Callable[[Path], Path], folder: Path) -> Path:
        name = make.__name__
        if name not in made:
            made[name] = make(tmp_path_factory.mktemp(name))
            read_everything(made[name])
        return Path(shutil.copytree(made[name], folder / "a.zarr"))

    return copy


def read_everything(path: Path) -> None:
    with ActivationStore.open(path) as store:
        _ = store.hashkeys, store.groups, store.texts(), store.fingerprint
        if store.logprobs_top_k is not None:
            store.logprobs(range(len(store)))
        for row in range(len(store)):
            for layer in range(store.num_layers):
                store.read([row], [[layer]])


@pytest.mark.parametrize(
    ("make", "attack", "message"), [a[1:] for a in ATTACKS], ids=[a[0] for a in ATTACKS]
)
def test_an_attack_is_answered_with_one_sentence(
    tmp_path: Path,
    copied: Callable[..., Path],
    make: Callable[[Path], Path],
    attack: Callable[[Path], object],
    message: str,
) -> None:
    path = copied(make, tmp_path)
    if message == "prompt_len":
        first_file(path, "arrays/prompt_len").unlink()
    attack(path)
    before = {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*")}
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match=message) as caught:
            read_everything(path)
        found = verify_or_refuse(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert found
    assert peak < MOST_MEMORY
    assert {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def verify_or_refuse(path: Path) -> list[str]:
    try:
        return [str(damage) for damage in verify_store(path)]
    except StoreError as error:
        return [str(error)]


def test_each_attack_stands_in_the_table_of_the_docs() -> None:
    page = (ROOT / "docs" / "stores.md").read_text()
    table = page.split("| attack |")[1].split("\n\n")[0]
    assert [a[0] for a in ATTACKS if f"`{a[0]}`" not in table] == []


def test_links_are_followed_when_asked_for(tmp_path: Path) -> None:
    path = native(tmp_path)
    link_folder_out(path)
    inside = path / "token_count" / "c.0"
    inside.rename(path / "token_count" / "moved")
    inside.symlink_to("moved")
    with ActivationStore.open(path, follow_symlinks=True) as store:
        assert len(store) == 5
    assert verify_store(path, follow_symlinks=True) == []
    (path / "halu").unlink()
    (path.parent / "elsewhere").rename(path / "halu")
    assert verify_store(path) == []  # a link that stays inside is none of these


@pytest.mark.parametrize(
    ("url", "message"),
    [("nothing://a.zarr", "Protocol not known"), ("s3://bucket/a.zarr", "s3:// s3fs")],
)
def test_an_address_that_cannot_be_opened_is_named(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        ActivationStore.open(url)
