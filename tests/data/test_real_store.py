"""The store that HalluLens itself wrote."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from helpers.paths import REAL
from kview.contracts import ConfigError
from kview.data import ActivationParser, ActivationStore, find_inputs, verify_store

ARCHIVE = REAL / "halueval_qa_minilm.tar.gz"

pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason=f"there is no {ARCHIVE.name}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("real")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(path, filter="data")
    return path / "halueval_qa_minilm"


@pytest.fixture(scope="module")
def parser(folder: Path) -> ActivationParser:
    inputs = find_inputs(folder)
    return ActivationParser(inputs.inference_json, inputs.eval_json, inputs.activations_path)


def test_it_is_what_its_readme_says(folder: Path) -> None:
    store = ActivationStore.open(folder)
    assert (len(store), store.num_layers, store.hidden_size, store.max_tokens) == (400, 7, 384, 16)
    assert store.parts[0].allocated == 420
    assert store.model == "all-MiniLM-L6-v2"
    assert len(store.texts()) == 400


def test_every_value_is_what_zarr_reads(folder: Path) -> None:
    store = ActivationStore.open(folder)
    found = store.read(np.arange(400), np.tile(np.arange(7), (400, 1)))
    array = zarr.open_array(folder / "activations.zarr/arrays/response_activations", mode="r")
    np.testing.assert_array_equal(found, np.asarray(array[:400]))


def test_it_is_sound(folder: Path) -> None:
    assert verify_store(folder) == []


def test_it_is_labelled_and_split(parser: ActivationParser) -> None:
    assert parser.halu.sum() == 200
    train, test = (parser.get_dataset(s, num_views=4) for s in ("train", "test"))
    assert (len(train), len(test)) == (320, 80)
    assert (train.labels.sum(), test.labels.sum()) == (160, 40)


def test_eight_views_of_seven_layers_are_refused(parser: ActivationParser) -> None:
    with pytest.raises(ConfigError) as caught:
        parser.get_dataset("train", num_views=8)
    assert str(caught.value) == (
        "num_views=8 exceeds the 7 layers available (relevant_layers=0..6); lower num_views or "
        "pass view_sampling_with_replacement=True"
    )


def test_questions_are_kept_together(folder: Path) -> None:
    inputs = find_inputs(folder)
    parser = ActivationParser(
        inputs.inference_json, inputs.eval_json, inputs.activations_path, group_by="question"
    )
    assert parser.groups is not None
    sides = [{parser.groups[i] for i in parser.split(s)} for s in ("train", "test")]
    assert not sides[0] & sides[1]
    assert abs(len(parser.split("test")) - 80) <= 2
