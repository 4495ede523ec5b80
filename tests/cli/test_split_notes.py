"""What a run's rows are grouped by, and what it is warned of."""

import json

import numpy as np
import pytest

from helpers.commands import sibling, train
from kview.cli.main import main
from kview.data import ActivationParser, ActivationWriter, prompt_key, write_synthetic_store


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """A folder as HalluLens leaves it: 60 prompts, two to a question, five to a topic."""
    folder = tmp_path_factory.mktemp("questions")
    prompts = [f"prompt {row}" for row in range(60)]
    random = np.random.default_rng(0)
    with ActivationWriter.create(
        folder / "activations.zarr", layers=[0, 1, 2], hidden_size=4, max_tokens=1, model="m"
    ) as writer:
        for prompt in prompts:
            x = random.normal(size=(3, 1, 4)).astype("f2")
            writer.append(x, token_count=1, input_length=1, hashkey=prompt_key(prompt))
    lines = [
        {"prompt": prompt, "question": f"question {row // 2}", "answer": "yes", "set": "one"}
        for row, prompt in enumerate(prompts)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "generation.jsonl").write_text(text)
    verdicts = {"halu_test_res": [row % 2 == 0 for row in range(60)], "abstantion": [False] * 60}
    (folder / "eval_results.json").write_text(json.dumps(verdicts))
    return folder


def grouped_by(run) -> str:
    return json.loads((run / "config.json").read_text())["data"]["group_by"]


def test_a_text_on_both_sides_is_warned_of_with_its_rows(questions, tmp_path, capsys):
    train(questions, tmp_path / "run", "--num-views", "2", "--split", "two_way")
    said = capsys.readouterr().err
    parser = ActivationParser(
        questions / "generation.jsonl", questions / "eval_results.json", questions
    )
    train_questions = {row // 2 for row in parser.split("train")}
    shared = sum(row // 2 in train_questions for row in parser.split("test"))
    assert f"warning: {shared} of 12 test rows share their `question` with a row of train" in said
    assert "--group-by question keeps" in said
    assert said.count("warning:") == 1  # neither answers nor a name of the whole set
    assert "60 rows, not grouped" in said
    assert grouped_by(tmp_path / "run") == "none"


def test_rows_that_are_kept_together_are_not_warned_of(questions, tmp_path, capsys):
    train(questions, tmp_path / "run", "--num-views", "2", "--group-by", "question")
    said = capsys.readouterr().err
    assert "60 rows in 30 groups by `question`" in said
    assert "warning" not in said


def test_the_stores_own_groups_are_kept_whole_and_recorded(store, tmp_path, capsys):
    run = tmp_path / "run"
    train(store, run)
    assert "80 rows in 40 groups by `group`, each whole on one side" in capsys.readouterr().err
    assert grouped_by(run) == "group"
    main(["evaluate", str(run)])
    assert json.loads((run / "evaluation.json").read_text())["intervals"]["grouped"]


def test_none_switches_groups_off(store, tmp_path, capsys):
    run = tmp_path / "run"
    train(store, run, "--group-by", "none")
    assert "80 rows, not grouped" in capsys.readouterr().err
    main(["evaluate", str(run)])
    assert not json.loads((run / "evaluation.json").read_text())["intervals"]["grouped"]


def test_another_store_need_not_have_the_groups_of_the_runs_own(store, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other.zarr"
    train(store, run)
    sibling(other)
    with ActivationWriter.create(
        tmp_path / "plain.zarr", layers=range(5), hidden_size=16, max_tokens=4, model=""
    ) as writer:
        for row in range(8):
            x = np.full((5, 4, 16), row + 1, "f2")
            writer.append(x, token_count=4, input_length=1, hashkey=f"new {row}", halu=row % 2)
    main(["evaluate", str(run), str(tmp_path / "plain.zarr")])
    found = json.loads((run / "on-plain.zarr" / "evaluation.json").read_text())
    assert (found["data"]["n_test"], found["intervals"]["grouped"]) == (8, False)


def test_rows_with_one_prompt_can_be_grouped_by_it(tmp_path, capsys):
    path = tmp_path / "store.zarr"
    write_synthetic_store(path, num_rows=80, num_layers=3, hidden_size=8, max_tokens=2)
    train(path, tmp_path / "run", "--num-views", "2", "--group-by", "prompt")
    assert "by `prompt`" in capsys.readouterr().err
