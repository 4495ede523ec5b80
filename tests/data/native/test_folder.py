"""A writer touches what is its own, and says in a sentence what it cannot do."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.faults import fault
from helpers.written_rows import SIZES, append_rows
from kview.contracts import StoreError
from kview.data import ActivationStore, ActivationWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of six rows."""
    with ActivationWriter.create(
        tmp_path / "a.zarr", **SIZES, shard_rows=4, durable=False
    ) as writer:
        append_rows(writer, 6)
    return tmp_path / "a.zarr"


@pytest.mark.parametrize("name", ["texts.jsonl", "activations/c.1.0.0.0", "halu"])
def test_a_symbolic_link_is_refused_and_its_target_left_alone(
    path: Path, tmp_path: Path, name: str
) -> None:
    elsewhere = tmp_path / "mine"
    (path / name).rename(elsewhere)
    (path / name).symlink_to(elsewhere)
    if elsewhere.is_file():
        elsewhere.write_bytes(elsewhere.read_bytes() + b"mine")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(StoreError, match=f"{name} is a symbolic link, and a writer stays inside"):
        ActivationWriter.resume(path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_link_that_comes_later_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    writer = ActivationWriter.resume(path)
    append_rows(writer, 7)
    (path / "zarr.json.next").symlink_to(tmp_path / "mine")
    with pytest.raises(StoreError, match="cannot write"):
        writer.close()
    assert (tmp_path / "mine").read_text() == "mine"
    assert len(ActivationStore.open(path)) == 6


def test_only_a_writers_own_leftovers_go(path: Path) -> None:
    mine = ["notes.next", "halu/notes.next", "halu/c.x.next", "mine/a.next", "activations/c.9.txt"]
    its = [
        "zarr.json.next",
        "activations/zarr.json.next",
        "activations/c.2.0.0.0",
        "activations/c.1.0.0.0.next",
        "halu/c.0.next",
        "halu/c.1",
    ]
    for name in (*mine, *its):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("left")
    ActivationWriter.resume(path).close()
    assert [name for name in mine if not (path / name).exists()] == []
    assert [name for name in its if (path / name).exists()] == []


def test_rows_without_groups_leave_no_groups_of_a_commit_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    ActivationWriter.create(path, **SIZES).close()
    (path / "group").mkdir()
    for name in ("zarr.json", "c.0"):
        (path / "group" / name).write_text("left")
    ActivationWriter.resume(path).close()
    assert list((path / "group").iterdir()) == []


def damage_texts(path: Path) -> None:
    (path / "texts.jsonl").write_bytes((path / "texts.jsonl").read_bytes()[:-1])


def damage_shard(path: Path) -> None:
    shard = path / "activations" / "c.1.0.0.0"
    shard.write_bytes(shard.read_bytes()[:-1])


def damage_index(path: Path) -> None:
    shard = path / "activations" / "c.1.0.0.0"
    shard.write_bytes(b"\0" + shard.read_bytes()[1:])


def move_index(path: Path) -> None:
    meta = path / "activations" / "zarr.json"
    meta.write_text(meta.read_text().replace('"start"', '"end"'))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_texts, "texts.jsonl has .* committed ones"),
        (damage_shard, "c.1.0.0.0 is truncated or changed"),
        (damage_index, "c.1.0.0.0 is truncated or changed"),
        (move_index, "activations is not laid out as its attributes say"),
    ],
)
def test_what_is_damaged_is_not_gone_on_with(
    path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(path)
    with pytest.raises(StoreError, match=message), ActivationWriter.resume(path) as writer:
        append_rows(writer, 7)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), r"cannot write: Permission denied$"),
        (OSError(errno.EROFS, "Read-only file system"), r"cannot write: Read-only file system$"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            r"on device; make room and resume",
        ),
    ],
)
def test_what_the_system_refuses_is_one_sentence(
    tmp_path: Path, error: OSError, message: str
) -> None:
    with pytest.raises(StoreError, match=message), fault(error, 1):
        ActivationWriter.create(tmp_path / "a.zarr", **SIZES)


def test_a_path_below_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "a.zarr"):
        with pytest.raises(StoreError, match=r"cannot write: (File exists|Not a directory)$"):
            ActivationWriter.create(path, **SIZES)
    with pytest.raises(StoreError, match="Not a directory"):
        ActivationWriter.resume(tmp_path / "file" / "a.zarr")


def test_making_a_store_can_fail_at_any_call_and_be_done_again(tmp_path: Path) -> None:
    with fault() as counted:
        ActivationWriter.create(tmp_path / "whole.zarr", **SIZES).close()
    assert counted.calls > 30
    for at in range(1, counted.calls + 1):
        path = tmp_path / f"{at}.zarr"
        with pytest.raises(KeyboardInterrupt), fault(KeyboardInterrupt(), at, after=at % 2 == 0):
            ActivationWriter.create(path, **SIZES).close()
        with fault():  # which waits for no disk
            if not (path / "zarr.json").exists():
                ActivationWriter.create(path, **SIZES).close()
            with ActivationWriter.resume(path) as writer:
                append_rows(writer, 2)
        assert len(ActivationStore.open(path)) == 2
