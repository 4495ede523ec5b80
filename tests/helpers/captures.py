"""Writes HalluLens captures with numpy and json alone, as HalluLens' own writer lays them out."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(kw_only=True)
class Capture:
    """A capture to be written.

    Attributes:
        activations: (n, L, S, H), a row per sample.
        lengths: (n,) response tokens before they were cut to S.
        places: (n,) the row of the arrays that each sample goes to.
        allocated: rows that the arrays have room for.
        name: what its prompts begin with.
        top_k: alternatives per token.
        config: what config.json says besides.
    """

    activations: np.ndarray
    lengths: Sequence[int]
    places: Sequence[int]
    allocated: int
    name: str = "question"
    top_k: int = 2
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def prompts(self) -> list[str]:
        return [f"{self.name} {i}?" for i in range(len(self.lengths))]

    @property
    def keys(self) -> list[str]:
        return [hashlib.sha256(p.encode()).hexdigest() for p in self.prompts]

    @property
    def halu(self) -> list[int]:
        return [i % 2 for i in range(len(self.lengths))]

    def log(self) -> list[dict[str, Any]]:
        """The lines of meta.jsonl."""
        return [
            {
                "sample_index": self.places[i],
                "key": f"id {i}",
                "prompt_hash": self.keys[i],
                "prompt_len": 5 + i,
                "response_len": self.lengths[i],
                "hallucinated": bool(self.halu[i]),
                "wrote_at": "2026-05-01T00:00:00+00:00",
            }
            for i in range(len(self.lengths))
        ]

    def logprobs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Token ids, their log-probabilities, and both of the alternatives, a row per sample."""
        n, S, k = len(self.lengths), self.activations.shape[2], self.top_k
        rng = np.random.default_rng(5)
        ids, topk = rng.integers(0, 99, (n, S)), rng.integers(0, 99, (n, S, k))
        one, many = -rng.random((n, S)), -rng.random((n, S, k))
        for row, length in enumerate(self.lengths):
            ids[row, length:] = -1
            one[row, length:] = np.nan
            topk[row, length:], many[row, length:] = 0, 0  # as they are left by batched capture
        return ids.astype("i4"), one.astype("f4"), topk.astype("i4"), many.astype("f4")

    def write(self, path: Path) -> Path:
        """Writes the capture and returns its path."""
        n, L, S, H = self.activations.shape
        N, k, dtype = self.allocated, self.top_k, self.activations.dtype
        path.mkdir(parents=True)
        rng = np.random.default_rng(3)
        ids, one, topk, many = self.logprobs()
        lengths, prompts = np.array(self.lengths, "i4"), np.arange(5, 5 + n, dtype="i4")
        arrays: list[tuple[str, np.ndarray, tuple[int, ...], Any, float]] = [
            ("response_activations", self.activations, (L, S, H), dtype, 0),
            ("prompt_activations", rng.random((n, L, 3, H)), (L, 3, H), dtype, 0),
            ("response_attention", rng.random((n, L - 1, 2, 2)), (L - 1, 2, 2), "f2", 0),
            ("prompt_token_ids", rng.integers(0, 9, (n, 3)), (3,), "i4", -1),
            ("response_token_ids", ids, (S,), "i4", -1),
            ("response_token_logprobs", one, (S,), "f4", np.nan),
            ("response_topk_token_ids", topk, (S, k), "i4", -1),
            ("response_topk_logprobs", many, (S, k), "f4", np.nan),
            ("prompt_len", prompts, (), "i4", 0),
            ("response_len", lengths, (), "i4", 0),
        ]
        for name, values, shape, kind, fill in arrays:
            whole = np.full((N, *shape), fill, kind)
            whole[list(self.places)] = values
            whole.tofile(path / f"{name}.npy")
        config = {
            "model_name": "tiny",
            "num_layers": L - 1,
            "hidden_dim": H,
            "r_max": 2,
            "dtype": str(dtype),
            "response_logprobs_top_k": k,
            "max_prompt_len": 3,
            "max_response_len": S,
            "storage_format": "inference_capture_v1",
            "n_samples": N,
            **self.config,
        }
        (path / "config.json").write_text(json.dumps(config, indent=2))
        write_lines(path / "meta.jsonl", self.log())
        said = zip(self.prompts, self.keys, self.halu, strict=True)
        texts = [
            {"prompt": p, "generation": f"answer to {p}", "prompt_hash": key, "hallucinated": h}
            for p, key, h in said
        ]
        write_lines(path / "generation.jsonl", texts)
        by_row = [h for _, h in sorted(zip(self.places, self.halu, strict=True))]
        verdicts = {"halu_test_res": by_row, "abstantion": [False] * n}
        (path / "eval_results.json").write_text(json.dumps(verdicts))
        return path


def capture(
    *,
    rows: int = 5,
    layers: int = 4,
    tokens: int = 3,
    hidden: int = 2,
    dtype: str = "float16",
    lengths: Sequence[int] | None = None,
    places: Sequence[int] | None = None,
    allocated: int | None = None,
    seed: int = 0,
    **settings: Any,
) -> Capture:
    """A small capture with values that are never zero."""
    x = np.random.default_rng(seed).uniform(1, 2, (rows, layers, tokens, hidden)).astype(dtype)
    return Capture(
        activations=x,
        lengths=[tokens] * rows if lengths is None else lengths,
        places=range(rows) if places is None else places,
        allocated=rows + 3 if allocated is None else allocated,
        **settings,
    )


def merge(path: Path, *parts: tuple[Path, int, int], model: str = "tiny") -> Path:
    """Puts captures into one, as HalluLens' script does: the first rows of each in turn.

    Args:
        path: where to.
        parts: the captures, and of each the rows it has room for and those that are copied.
        model: the model's name in the new configuration.
    """
    path.mkdir()
    skipped = {"prompt_activations.npy", "prompt_token_ids.npy"}
    for file in sorted(parts[0][0].glob("*.npy")):
        if file.name in skipped:
            continue
        pieces = []
        for part, allocated, copied in parts:
            data = (part / file.name).read_bytes()
            pieces.append(data[: len(data) // allocated * copied])
        (path / file.name).write_bytes(b"".join(pieces))
    log, start = [], 0
    for part, _, copied in parts:
        for line in read_lines(part / "meta.jsonl"):
            log.append({**line, "sample_index": line["sample_index"] + start})
        start += copied
    write_lines(path / "meta.jsonl", log)
    texts = [line for part, _, _ in parts for line in read_lines(part / "generation.jsonl")]
    write_lines(path / "generation.jsonl", texts)
    config = json.loads((parts[0][0] / "config.json").read_text())
    config |= {
        "model_name": model,
        "n_samples": start,
        "_merged_from": [part.name for part, _, _ in parts],
        "_merged_written_rows": [copied for _, _, copied in parts],
    }
    (path / "config.json").write_text(json.dumps(config))
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    """What the lines of a JSONL file say."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_lines(path: Path, values: Sequence[dict[str, Any]]) -> None:
    """A JSONL file of them."""
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
