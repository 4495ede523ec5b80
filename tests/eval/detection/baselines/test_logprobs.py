"""Scores from log-probabilities, against loops over tokens."""

import math

import pytest
import torch

from kview.contracts import ResponseLogprobs
from kview.eval.detection.baselines.logprobs import logprob_scores

NAN = math.nan


def batch(k: int = 3) -> ResponseLogprobs:
    """Three responses of 4, 1 and no recorded tokens; one alternative is missing."""
    random = torch.Generator().manual_seed(0)
    topk = torch.randn(3, 4, k + 2, generator=random).log_softmax(dim=2)[..., :k].clone()
    topk[0, 1, -1] = NAN
    mask = torch.tensor([[True] * 4, [True, False, False, False], [False] * 4])
    topk[~mask] = NAN
    tokens = torch.where(mask, topk[..., 0], NAN)
    ids = torch.where(mask, 5, -1)
    return ResponseLogprobs(
        token_ids=ids,
        token_logprobs=tokens,
        mask=mask,
        topk_token_ids=torch.where(topk.isnan(), -1, 5),
        topk_logprobs=topk,
    )


def test_scores_are_those_of_loops_over_tokens():
    given = batch()
    found = logprob_scores(given)
    assert list(found) == ["logprob_mean", "logprob_min", "perplexity", "topk_entropy"]
    assert given.topk_logprobs is not None
    for row in (0, 1):
        logs = [v for v in given.token_logprobs[row].tolist() if not math.isnan(v)]
        mean = sum(logs) / len(logs)
        entropies = []
        for token in given.topk_logprobs[row, : len(logs)].tolist():
            chances = [math.exp(v) for v in token if not math.isnan(v)]
            chances = [c / sum(chances) for c in chances]
            entropies.append(-sum(c * math.log(c) for c in chances))
        expected = (-mean, -min(logs), math.exp(-mean), sum(entropies) / len(entropies))
        assert [found[name][row].item() for name in found] == pytest.approx(expected, rel=1e-5)


def test_nothing_recorded_is_no_score():
    assert all(scores[2].isnan() for scores in logprob_scores(batch()).values())


def test_a_certain_token_has_no_entropy():
    sure = torch.tensor([[[0.0, -torch.inf]]])
    given = ResponseLogprobs(
        token_ids=torch.tensor([[5]]),
        token_logprobs=sure[..., 0],
        mask=torch.tensor([[True]]),
        topk_token_ids=torch.tensor([[[5, 6]]]),
        topk_logprobs=sure,
    )
    assert logprob_scores(given)["topk_entropy"].tolist() == [0.0]


def test_without_alternatives_there_is_no_entropy():
    given = batch().replace(topk_token_ids=None, topk_logprobs=None)
    assert "topk_entropy" not in logprob_scores(given)
