"""Hidden states of tiny models, built offline, row by row what the models give."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from helpers.tiny_models import SPECIAL, WORDS, save, tokenizer
from kview.contracts import ConfigError, LabelError, StoreError
from kview.data import ActivationStore, CaptureProgress, capture, prompt_key, verify_store
from kview.data.capture_requests import read_requests
from kview.data.huggingface import plan_batches

LINES: list[dict[str, Any]] = [
    {"prompt": "w1 w2 w3", "response": "w4 w5", "halu": True},
    {"prompt": "w1", "response": "w9 w8 w7 w6 w5 w4 w3", "halu": False},
    {"prompt": "w2 w2 w2 w2 w2 w2 w2", "response": "w3"},
    {"prompt": "w7 w3", "response": ""},
    {"prompt": "w5 w6", "response": "w1 w2 w3", "halu": 1, "hashkey": "mine"},
    {"prompt": "w5 w6", "response": "w1 w2 w4", "halu": 0},
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: save(folder / kind, kind) for kind in ("causal", "encoder", "headless")}


@pytest.fixture
def lines(tmp_path: Path) -> Callable[[list[dict[str, Any]]], Path]:
    def write(found: list[dict[str, Any]]) -> Path:
        path = tmp_path / "qa.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in found))
        return path

    return write


def alone(path: Path, kind: str, line: dict[str, Any]) -> torch.Tensor:
    """(L, T', H): one sequence through the model, nothing padded, response tokens only."""
    network = transformers.AutoModel.from_pretrained(path).eval()
    ids = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    prompt = [ids[w] for w in line["prompt"].split()]
    response = [ids[w] for w in line["response"].split()]
    if kind == "causal":
        sequence, types = [2, *prompt, *response], None
        first = 1 + len(prompt)
    else:
        sequence = [2, *prompt, 3, *response, 3]
        first = 2 + len(prompt)
        types = torch.tensor([[0] * first + [1] * (len(response) + 1)])
    extra = {} if types is None else {"token_type_ids": types}
    with torch.no_grad():
        found = network(torch.tensor([sequence]), output_hidden_states=True, **extra)
    return torch.stack(found.hidden_states)[:, 0, first : first + len(response)]


@pytest.mark.parametrize("kind", ["causal", "encoder"])
@pytest.mark.parametrize("batch_tokens", [1, 20, 1000])
def test_rows_are_what_the_model_gives_one_by_one(
    models: dict[str, Path],
    lines: Callable[..., Path],
    tmp_path: Path,
    kind: str,
    batch_tokens: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[CaptureProgress] = []
    with caplog.at_level(logging.WARNING, "kview.data"):
        summary = capture(
            models[kind],
            lines(LINES),
            tmp_path / "a.zarr",
            max_tokens=16,
            batch_tokens=batch_tokens,
            dtype="float32",
            device="cpu",
            progress=told.append,
        )
    assert (summary.rows, summary.resumed, summary.empty) == (5, 0, 1)
    assert summary.out_of_range == ()
    assert summary.tokens_per_second > 0
    assert told[-1].done == told[-1].total == 5
    assert "1 requests have no response token" in caplog.text
    assert verify_store(tmp_path / "a.zarr") == []
    store = ActivationStore.open(tmp_path / "a.zarr")
    assert store.layer_ids == (0, 1, 2)
    texts, rows = store.texts(), {key: row for row, key in enumerate(store.hashkeys)}
    for line, request in zip(LINES, read_requests(lines(LINES)), strict=True):
        if not line["response"]:
            continue
        row = rows[request.hashkey]
        expected = alone(models[kind], kind, line)
        count = expected.shape[1]
        assert store.token_counts[row] == count
        found = store.read([row], [[0, 1, 2]], max_tokens=count)[0]
        np.testing.assert_allclose(found, expected, atol=2e-6)
        assert texts[request.hashkey].prompt == line["prompt"]
        assert store.halu[row] == {None: -1}.get(line.get("halu"), line.get("halu"))
        extra = 1 if kind == "causal" else 3
        assert store.input_lengths[row] == len(line["prompt"].split()) + extra


@pytest.mark.parametrize("batch_tokens", [1, 20, 1000])
def test_log_probabilities_are_those_of_transformers(
    models: dict[str, Path], lines: Callable[..., Path], tmp_path: Path, batch_tokens: int
) -> None:
    capture(
        models["causal"],
        lines(LINES),
        tmp_path / "a",
        max_tokens=6,
        batch_tokens=batch_tokens,
        logprobs_top_k=3,
        device="cpu",
    )
    assert verify_store(tmp_path / "a") == []
    store = ActivationStore.open(tmp_path / "a")
    assert (store.logprob_tokens, store.logprobs_top_k) == (6, 3)
    network = transformers.AutoModelForCausalLM.from_pretrained(models["causal"]).eval()
    ids = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    rows = {key: row for row, key in enumerate(store.hashkeys)}
    for line, request in zip(LINES, read_requests(lines(LINES)), strict=True):
        response = [ids[w] for w in line["response"].split()][:6]
        if not response:
            continue
        prompt = [2, *(ids[w] for w in line["prompt"].split())]
        with torch.no_grad():
            logits = network(torch.tensor([prompt + response])).logits[0]
        expected = logits[len(prompt) - 1 : -1].log_softmax(-1)
        found: Any = store.logprobs([rows[request.hashkey]])
        T = len(response)
        assert found.token_ids[0].tolist() == response + [-1] * (6 - T)
        np.testing.assert_allclose(
            found.token_logprobs[0, :T], expected[range(T), response], atol=1e-5
        )
        assert np.isnan(found.token_logprobs[0, T:]).all()
        top = expected.topk(3)
        np.testing.assert_allclose(found.topk_logprobs[0, :T], top.values, atol=1e-5)
        np.testing.assert_array_equal(found.topk_token_ids[0, :T], top.indices)
        assert (found.topk_token_ids[0, T:] == -1).all()
    with pytest.raises(StoreError, match="was begun with logprobs_top_k=3, not 2"):
        capture(models["causal"], lines(LINES), tmp_path / "a", max_tokens=6, logprobs_top_k=2)


def test_a_first_token_that_nothing_predicts_has_no_log_probability(
    models: dict[str, Path], lines: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("tokenizer.json",):
        path = models["causal"] / name
        plain = json.loads(path.read_text())
        plain["post_processor"] = None  # no token before the prompt's
        shutil.copytree(models["causal"], tmp_path / "bare")
        (tmp_path / "bare" / name).write_text(json.dumps(plain))
    line = {"prompt": "", "response": "w1 w2"}
    capture(tmp_path / "bare", lines([line]), tmp_path / "a", device="cpu")
    found = ActivationStore.open(tmp_path / "a").logprobs([0])
    assert np.isnan(found.token_logprobs[0, 0])
    assert found.token_logprobs[0, 1] < 0
    assert found.token_ids[0, 0] == len(SPECIAL) + 1


def test_without_a_head_there_are_none_and_it_is_said(
    models: dict[str, Path],
    lines: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for kind, why in (("headless", "its weights lack lm_head.weight"), ("encoder", "an encoder")):
        with pytest.raises(ConfigError, match=f"gives no log-probabilities: {why}"):
            capture(models[kind], lines(LINES), tmp_path / kind, logprobs=True)
        assert not (tmp_path / kind).exists()
    with caplog.at_level(logging.WARNING, "kview.data"):
        capture(models["headless"], lines(LINES), tmp_path / "a", device="cpu")
    assert "no log-probabilities are kept: its weights lack lm_head.weight" in caplog.text
    with caplog.at_level(logging.WARNING, "kview.data"):  # it has seen the token that it predicts
        capture(models["encoder"], lines(LINES), tmp_path / "c", kind="causal", device="cpu")
    assert "an encoder does not predict a next token" in caplog.text
    assert ActivationStore.open(tmp_path / "c").logprobs_top_k is None
    capture(models["causal"], lines(LINES), tmp_path / "b", logprobs=False, device="cpu")
    with pytest.raises(StoreError, match=r"logprob_tokens=0, not 64.*logprobs=False keeps"):
        capture(models["causal"], lines(LINES), tmp_path / "b", device="cpu")
    for name in "ab":
        assert ActivationStore.open(tmp_path / name).logprobs_top_k is None


@pytest.mark.parametrize("kind", ["causal", "encoder"])
def test_chosen_layers_of_cut_responses(
    models: dict[str, Path], lines: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    capture(
        models[kind], lines(LINES[1:2]), tmp_path / "a", layers=[2, 0], max_tokens=3, device="cpu"
    )
    store = ActivationStore.open(tmp_path / "a")
    assert store.layer_ids == (2, 0)
    assert store.dtype == np.float16
    assert (store.token_counts[0], store.response_lengths[0]) == (3, 7)
    expected = alone(models[kind], kind, LINES[1])
    if kind == "causal":  # an encoder sees the cut response only
        found = store.read([0], [[1, 0]])[0]
        np.testing.assert_allclose(found, expected[[0, 2], :3], atol=2e-3)


def test_a_capture_goes_on_where_it_was_stopped(
    models: dict[str, Path], lines: Callable[..., Path], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"batch_tokens": 12, "device": "cpu", "max_tokens": 8}
    path = lines(LINES)
    whole = capture(models["causal"], path, tmp_path / "a", **settings)
    assert whole.rows == 5

    def stop(progress: CaptureProgress) -> None:
        if progress.done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        capture(models["causal"], path, tmp_path / "b", **settings, progress=stop)
    rest = capture(models["causal"], path, tmp_path / "b", **settings)
    assert rest.resumed == 2
    assert rest.rows == 5
    stores = [ActivationStore.open(tmp_path / name) for name in "ab"]
    assert stores[0].hashkeys == stores[1].hashkeys
    reads = [s.read(range(5), np.tile(np.arange(3), (5, 1))) for s in stores]
    np.testing.assert_allclose(reads[0], reads[1], atol=1e-3)
    with pytest.raises(StoreError, match="was begun with max_tokens=8, not 9"):
        capture(models["causal"], path, tmp_path / "b", **{**settings, "max_tokens": 9})


def test_values_out_of_range_are_reported_and_left_out(
    models: dict[str, Path], lines: Callable[..., Path], tmp_path: Path
) -> None:
    model = transformers.AutoModel.from_pretrained(models["causal"])
    with torch.no_grad():
        model.embed_tokens.weight[len(SPECIAL) + 4] = 1e5  # w4
        model.embed_tokens.weight[len(SPECIAL) + 3] = torch.nan  # w3
    model.save_pretrained(tmp_path / "wild")
    tokenizer().save_pretrained(tmp_path / "wild")
    wanted = lines(
        [LINES[0], {"prompt": "w1", "response": "w1"}, {"prompt": "w", "response": "w3"}]
    )
    summary = capture(tmp_path / "wild", wanted, tmp_path / "a", device="cpu")
    assert summary.rows == 1
    assert ActivationStore.open(tmp_path / "a").hashkeys == [prompt_key("w1")]
    keys = {o.hashkey: (o.layer, o.value) for o in summary.out_of_range}
    assert keys[prompt_key("w1 w2 w3")] == (0, 100_000)
    layer, value = keys[prompt_key("w")]
    assert layer == 0
    assert np.isnan(value)
    assert verify_store(tmp_path / "a") == []


def test_hashkeys_of_repeated_prompts_tell_responses_apart(lines: Callable[..., Path]) -> None:
    found = read_requests(lines(LINES))
    assert found[0].hashkey == prompt_key("w1 w2 w3")
    assert found[4].hashkey == "mine"
    assert found[5].hashkey.startswith(prompt_key("w5 w6") + "_")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not a JSON object"),
        ('{"prompt": "a"}', "line 2.*KeyError: 'response'"),
        ('{"prompt": "a", "response": 3}', "line 2.*response is 3"),
        ('{"prompt": "a", "response": "b", "halu": "yes"}', "line 2.*halu is 'yes'"),
        ('{"prompt": "a", "response": "b", "hashkey": ""}', "line 2.*hashkey is ''"),
        ('{"prompt": "w1 w2 w3", "response": "w4 w5"}', "lines 1 and 2 have one hashkey"),
        ('{"prompt": "a", "response": "b", "group": "g"}', "line 1 has no group"),
        ("7", "line 2: not a JSON object"),
        (r'{"prompt": "a", "response": "b \ud800"}', "line 2.*surrogates not allowed"),
        (r'{"prompt": "a", "response": "b", "hashkey": "\udfff"}', "line 2.*surrogates not"),
    ],
)
def test_lines_that_will_not_do_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "qa.jsonl"
    path.write_text(json.dumps({**LINES[0], "halu": None}) + "\n" + line + "\n")
    with pytest.raises(LabelError, match=message):
        read_requests(path)


def test_what_cannot_be_captured_is_named(
    models: dict[str, Path], lines: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"layers=\[3\]: the model has layers 0 .* to 2"):
        capture(models["causal"], lines(LINES), tmp_path / "a", layers=[3])
    with pytest.raises(ConfigError, match="cannot be loaded"):
        capture(tmp_path / "nothing", lines(LINES), tmp_path / "a")
    transformers.T5Config(vocab_size=9, d_model=8, num_layers=1).save_pretrained(tmp_path / "t5")
    tokenizer().save_pretrained(tmp_path / "t5")
    transformers.T5Model(
        transformers.T5Config(vocab_size=9, d_model=8, num_layers=1, d_kv=4, num_heads=2, d_ff=8)
    ).save_pretrained(tmp_path / "t5")
    with pytest.raises(ConfigError, match="t5 is an encoder-decoder"):
        capture(tmp_path / "t5", lines(LINES), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_what_is_too_long_for_the_model_is_left_out_and_said(
    models: dict[str, Path],
    lines: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    long = {"prompt": "w1 " * 70, "response": "w2", "hashkey": "long"}
    with caplog.at_level(logging.WARNING, "kview.data"):
        summary = capture(models["causal"], lines([long, *LINES]), tmp_path / "a", device="cpu")
    assert (summary.rows, summary.too_long) == (5, ("long",))
    assert "'long' has 72 tokens and the model takes 64" in caplog.text
    assert "long" not in ActivationStore.open(tmp_path / "a").hashkeys


def test_a_model_with_a_nested_configuration_is_captured(
    lines: Callable[..., Path], tmp_path: Path
) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "head_dim": 4}
    text = {**sizes, "vocab_size": 44, "num_hidden_layers": 2, "num_key_value_heads": 1}
    vision = {**sizes, "num_hidden_layers": 1, "image_size": 8, "patch_size": 4}
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4
    )
    transformers.Gemma3Model(config).save_pretrained(tmp_path / "gemma")
    tokenizer().save_pretrained(tmp_path / "gemma")
    summary = capture(tmp_path / "gemma", lines(LINES), tmp_path / "a", device="cpu")
    assert summary.rows == 5
    store = ActivationStore.open(tmp_path / "a")
    assert (store.layer_ids, store.hidden_size) == ((0, 1, 2), 8)


def test_batches_hold_every_sequence_once_and_few_tokens() -> None:
    lengths = np.random.default_rng(0).integers(1, 90, 3000).tolist()
    wanted = [i for i in range(3000) if i % 7]
    batches = list(plan_batches(lengths, wanted, 400))
    assert sorted(i for b in batches for i in b) == wanted
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= 400 for b in batches)
    assert len(batches) < 1.2 * sum(lengths[i] for i in wanted) / 400


def test_a_model_for_pictures_too_is_captured_without_log_probabilities(
    lines: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sizes: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}
    config = transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(**sizes, vocab_size=44, num_hidden_layers=2),
        vision_config=transformers.CLIPVisionConfig(
            **sizes, num_hidden_layers=1, image_size=8, patch_size=4
        ),
    )
    transformers.LlavaModel(config).save_pretrained(tmp_path / "llava")
    tokenizer().save_pretrained(tmp_path / "llava")
    with caplog.at_level(logging.WARNING, "kview.data"):
        assert capture(tmp_path / "llava", lines(LINES), tmp_path / "a", device="cpu").rows == 5
    assert "transformers has no causal language model for llava" in caplog.text


def test_log_probabilities_that_are_none_are_left_out_and_said(
    models: dict[str, Path],
    lines: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(models["causal"])
    with torch.no_grad():
        model.lm_head.weight[0] = torch.nan
    model.save_pretrained(tmp_path / "wild")
    tokenizer().save_pretrained(tmp_path / "wild")
    with caplog.at_level(logging.WARNING, "kview.data"):
        capture(tmp_path / "wild", lines(LINES[:1]), tmp_path / "a", device="cpu")
    assert "has no log-probabilities: the model gave NaN" in caplog.text
    assert (ActivationStore.open(tmp_path / "a").logprobs([0]).token_ids == -1).all()


def test_logits_are_asked_for_where_they_are_needed_and_counted(
    models: dict[str, Path],
    lines: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = transformers.LlamaForCausalLM.forward

    def without(self: Any, input_ids: Any, attention_mask: Any, output_hidden_states: Any) -> Any:
        return forward(self, input_ids, attention_mask, output_hidden_states=output_hidden_states)

    def deaf(self: Any, input_ids: Any, logits_to_keep: Any = 0, **more: Any) -> Any:
        return forward(self, input_ids, **more)

    capture(models["causal"], lines(LINES), tmp_path / "a", device="cpu", dtype="float32")
    monkeypatch.setattr(transformers.LlamaForCausalLM, "forward", without)
    capture(models["causal"], lines(LINES), tmp_path / "b", device="cpu", dtype="float32")
    stores = [ActivationStore.open(tmp_path / name) for name in "ab"]
    found = [s.logprobs(range(5)).token_logprobs for s in stores]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    monkeypatch.setattr(transformers.LlamaForCausalLM, "forward", deaf)
    with pytest.raises(StoreError, match="capture it with logprobs=False"):
        capture(models["causal"], lines(LINES), tmp_path / "c", device="cpu")
