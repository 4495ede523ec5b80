"""What `capture` is asked to put through a model: a JSONL file, line by line, and its tokens."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..contracts import IGNORE_LABEL, LabelError
from .labels import FilePath
from .layout.json_text import parse_json
from .prompt_keys import prompt_key

Kind = Literal["causal", "encoder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One line of the input.

    Attributes:
        prompt: what the model was given.
        response: what it is made to answer.
        hashkey: the row's id.
        halu: the label.
        group: the group, or None.
    """

    prompt: str
    response: str
    hashkey: str
    halu: int
    group: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A request as a model sees it.

    Attributes:
        ids: the whole sequence.
        types: its token types, or None where the model has none.
        positions: where the response's tokens are in it.
        input_length: how many tokens are not the response's.
        response_length: how many response tokens there were before any were cut.
    """

    ids: list[int]
    types: list[int] | None
    positions: list[int]
    input_length: int
    response_length: int


def read_requests(path: FilePath) -> list[Request]:
    """Reads a JSONL of `prompt, response, halu?, hashkey?, group?`.

    A line without a hashkey gets the sha256 of its prompt; where a prompt stands more than once,
    `_` and the start of the response's sha256 follow.

    Raises:
        LabelError: a line is malformed, some lines have a group and some have not, or two lines
            have one hashkey.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read: {error}") from error
    numbered = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    values = [_parse(path, number, line) for number, line in numbered]
    prompts = Counter(v["prompt"] for v in values)
    requests = [_request(v, repeated=prompts[v["prompt"]] > 1) for v in values]
    first: dict[str, int] = {}
    for (number, _), request in zip(numbered, requests, strict=True):
        if first.setdefault(request.hashkey, number) != number:
            raise LabelError(
                f"{path}, lines {first[request.hashkey]} and {number} have one hashkey, "
                f"{request.hashkey!r}; give each a hashkey of its own"
            )
    without = [n for (n, _), r in zip(numbered, requests, strict=True) if r.group is None]
    if without and len(without) < len(requests):
        raise LabelError(f"{path}, line {without[0]} has no group and others have one")
    return requests


def tokenize(
    tokenizer: Any, requests: Sequence[Request], *, kind: Kind, max_tokens: int
) -> list[Tokens]:
    """Tokenizes prompts and responses so that the response's tokens are known.

    For a causal model the response's tokens follow the prompt's; for an encoder the two are a pair,
    with the tokenizer's separators. Responses are cut to `max_tokens`.

    Args:
        tokenizer: of transformers.
        requests: to tokenize.
        kind: of the model.
        max_tokens: T.
    """
    encode = _causal if kind == "causal" else _pair
    return [encode(tokenizer, request, max_tokens) for request in requests]


def _causal(tokenizer: Any, request: Request, max_tokens: int) -> Tokens:
    prompt = list(tokenizer(request.prompt)["input_ids"])
    response = list(tokenizer(request.response, add_special_tokens=False)["input_ids"])
    kept = response[:max_tokens]
    return Tokens(
        ids=prompt + kept,
        types=None,
        positions=list(range(len(prompt), len(prompt) + len(kept))),
        input_length=len(prompt),
        response_length=len(response),
    )


def _pair(tokenizer: Any, request: Request, max_tokens: int) -> Tokens:
    encoding = tokenizer(request.prompt, request.response)
    ids = list(encoding["input_ids"])
    parts = encoding.sequence_ids(0)
    positions = [at for at, part in enumerate(parts) if part == 1]
    cut = set(positions[max_tokens:])
    keep = [at for at in range(len(ids)) if at not in cut]
    types = encoding.get("token_type_ids")
    kept = positions[:max_tokens]
    return Tokens(
        ids=[ids[at] for at in keep],
        types=None if types is None else [types[at] for at in keep],
        positions=kept,
        input_length=len(ids) - len(positions),
        response_length=len(positions),
    )


def _parse(path: FilePath, number: int, line: str) -> dict[str, Any]:
    try:
        values = parse_json(line)
        for name in ("prompt", "response"):
            if not isinstance(values[name], str):
                raise TypeError(f"{name} is {values[name]!r}")
        for name in ("hashkey", "group"):
            if not isinstance(values.get(name), str | None) or values.get(name) == "":
                raise TypeError(f"{name} is {values[name]!r}")
        for name in ("prompt", "response", "hashkey", "group"):
            (values.get(name) or "").encode()  # a lone surrogate is no text
        halu = values.get("halu")
        if halu is not None and (isinstance(halu, str) or halu not in (0, 1, IGNORE_LABEL)):
            raise TypeError(f"halu is {halu!r}, not true, false or null")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LabelError(
            f"{path}, line {number}: not a JSON object with a prompt and a response "
            f"({type(error).__name__}: {error})"
        ) from error
    return values


def _request(values: dict[str, Any], *, repeated: bool) -> Request:
    key = prompt_key(values["prompt"])
    if repeated:
        key += f"_{hashlib.sha256(values['response'].encode()).hexdigest()[:16]}"
    halu = values.get("halu")
    return Request(
        prompt=values["prompt"],
        response=values["response"],
        hashkey=values.get("hashkey") or key,
        halu=IGNORE_LABEL if halu is None else int(halu),
        group=values.get("group"),
    )
