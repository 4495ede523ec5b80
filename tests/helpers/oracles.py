"""Slow, obviously right counterparts of what kview computes fast, in float64."""

import torch


def supcon_by_loops(
    z_views: torch.Tensor,
    labels: torch.Tensor | None = None,
    *,
    sample_ids: torch.Tensor | None = None,
    temperature: float = 0.07,
    base_temperature: float | None = None,
    same_sample_weight: float = 1.0,
    same_class_weight: float = 1.0,
    ignore_label: int = -1,
    normalize: bool = True,
) -> torch.Tensor:
    """The loss of Khosla et al. (2020), eq. 2, pair by pair, in float64 and differentiable."""
    B, K, _ = z_views.shape
    z = [z_views[s, v].double() for s in range(B) for v in range(K)]
    if normalize:
        z = [x / x.square().sum().sqrt() for x in z]
    ids = list(range(B)) if sample_ids is None else sample_ids.tolist()
    classes = [ignore_label] * B if labels is None else labels.tolist()
    losses = []
    for i in range(B * K):
        others = [j for j in range(B * K) if j != i]
        logits = {j: (z[i] * z[j]).sum() / temperature for j in others}
        weights = {}
        for j in others:
            if ids[i // K] == ids[j // K]:
                weights[j] = same_sample_weight
            elif classes[i // K] == classes[j // K] != ignore_label:
                weights[j] = same_class_weight
            else:
                weights[j] = 0.0
        total = sum(weights.values())
        if total > 0:
            log_sum_exp = torch.stack(list(logits.values())).logsumexp(0)
            losses.append(log_sum_exp - sum(weights[j] * logits[j] for j in others) / total)
    loss = torch.stack(losses).mean()
    return loss if base_temperature is None else loss * temperature / base_temperature


def pair_cosines_by_loops(z_views: torch.Tensor) -> tuple[list[float], list[float]]:
    """The cosines of all view pairs within samples, and of all between samples, in float64."""
    B, K, _ = z_views.shape
    z = [[z_views[s, v].double() for v in range(K)] for s in range(B)]
    within, between = [], []
    for s in range(B):
        for v in range(K):
            for t in range(s, B):
                for w in range(v + 1 if t == s else 0, K):
                    cosine = (z[s][v] @ z[t][w] / (z[s][v].norm() * z[t][w].norm())).item()
                    (within if t == s else between).append(cosine)
    return within, between


def view_retrieval_by_loops(z_views: torch.Tensor) -> float:
    """How often view k's nearest neighbour among all views k+1 is the own sample's, no tie."""
    B, K, _ = z_views.shape
    unit = z_views.double() / z_views.double().norm(dim=-1, keepdim=True)
    hits = 0
    for k in range(K):
        for s in range(B):
            cosines = [(unit[s, k] @ unit[t, (k + 1) % K]).item() for t in range(B)]
            others = [c for t, c in enumerate(cosines) if t != s]
            hits += cosines[s] > max(others) + 1e-12
    return hits / (B * K)
