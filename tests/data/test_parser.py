"""The parser: a store, its labels and its splits by their names."""

from pathlib import Path

import pytest

from kview.contracts import ConfigError
from kview.data import ActivationParser, find_inputs
from kview.data.splits import SplitStrategy


@pytest.mark.parametrize(
    ("strategy", "made"),
    [("two_way", {"train", "test"}), ("three_way", {"train", "val", "test"}), ("none", {"test"})],
)
def test_splits_by_their_names(
    synthetic_path: Path, strategy: SplitStrategy, made: set[str]
) -> None:
    with ActivationParser(None, None, synthetic_path, split_strategy=strategy) as parser:
        rows: list[str] = []
        for name in ("train", "val", "test"):
            if name in made:
                rows += parser.get_dataset(name, num_views=2).hashkeys
            else:
                with pytest.raises(ConfigError, match=f"split '{name}': split_strategy="):
                    parser.get_dataset(name, num_views=2)
        assert sorted(rows) == sorted(parser.store.hashkeys)


def test_a_negative_seed_is_refused(synthetic_path: Path) -> None:
    with pytest.raises(ConfigError, match="random_seed=-1 is negative"):
        ActivationParser(None, None, synthetic_path, random_seed=-1)


def test_labels_and_groups_are_those_of_the_store(synthetic_path: Path) -> None:
    parser = ActivationParser(None, None, synthetic_path, group_by="group", random_seed=5)
    train, test = (parser.get_dataset(s, num_views=2) for s in ("train", "test"))
    assert parser.groups is not None
    groups = dict(zip(parser.store.hashkeys, parser.groups, strict=True))
    assert not {groups[k] for k in train.hashkeys} & {groups[k] for k in test.hashkeys}
    labels = dict(zip(parser.store.hashkeys, parser.store.halu.tolist(), strict=True))
    assert [labels[k] for k in test.hashkeys] == test.labels.tolist()
    assert parser.texts[test.hashkeys[0]].prompt.endswith("?")
    assert train.settings.random_seed == 5


def test_settings_reach_the_dataset(synthetic_path: Path) -> None:
    parser = ActivationParser(None, None, synthetic_path)
    dataset = parser.get_dataset(
        "test",
        num_views=3,
        relevant_layers=[1, 3],
        fixed_layer=1,
        pad_length=2,
        view_sampling_with_replacement=True,
        min_target_layers=1,
        return_all_activations=True,
    )
    item = dataset[0]
    assert item.views_activations.shape == (3, 2, 4)
    assert item.view_indices.tolist() == [1, 0, 0]
    assert len(item.all_activations) == 2
    assert dataset.layer_ids == (1, 3)


def test_files_lie_beside_the_store_or_are_named(tmp_path: Path) -> None:
    bare = find_inputs(tmp_path)
    assert (bare.inference_json, bare.eval_json) == (None, None)
    assert bare.activations_path == str(tmp_path)
    for name in ("generation.jsonl", "eval_results.json"):
        (tmp_path / name).touch()
    beside = find_inputs(tmp_path)
    assert beside.inference_json == str(tmp_path / "generation.jsonl")
    assert beside.eval_json == str(tmp_path / "eval_results.json")
    named = find_inputs(tmp_path, generation="g", labels=Path("l"))
    assert (named.inference_json, named.eval_json) == ("g", "l")
