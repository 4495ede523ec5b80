"""Scores from the log-probabilities that the model gave its own response."""

import torch
from torch import Tensor

from ....contracts import ResponseLogprobs, boundary

LOGPROB_BASELINES = ("logprob_mean", "logprob_min", "perplexity", "topk_entropy")


@boundary
def logprob_scores(logprobs: ResponseLogprobs) -> dict[str, Tensor]:
    """How unsure the model was of its response, (B,) float64 each; NaN where nothing is recorded.

    `logprob_mean` is minus the mean over tokens, `logprob_min` minus the least of them,
    `perplexity` the exponential of the first, which ranks alike. `topk_entropy`, where alternatives
    are recorded, is the mean over tokens of the entropy in nats of the k likeliest, at sum 1.

    Args:
        logprobs: of a batch, (B, R).
    """
    recorded = logprobs.mask
    count = recorded.sum(dim=1)
    values = logprobs.token_logprobs.double()
    mean = torch.where(recorded, values, 0).sum(dim=1) / count  # 0 / 0 is NaN
    least = torch.where(recorded, values, torch.inf).amin(dim=1)
    scores = {
        "logprob_mean": -mean,
        "logprob_min": torch.where(count > 0, -least, torch.nan),
        "perplexity": (-mean).exp(),
    }
    if logprobs.topk_logprobs is not None:
        scores["topk_entropy"] = _entropy(logprobs.topk_logprobs.double())
    return scores


def _entropy(topk: Tensor) -> Tensor:
    """The mean entropy of the alternatives over the tokens that have some: (B, R, k) -> (B,)."""
    there = ~topk.isnan()
    logs = torch.where(there, topk, -torch.inf).log_softmax(dim=2)
    terms = torch.where(there, logs.exp() * logs, 0).nan_to_num()  # 0 log 0 is 0
    known = there.any(dim=2)
    return torch.where(known, -terms.sum(dim=2), 0).sum(dim=1) / known.sum(dim=1)
