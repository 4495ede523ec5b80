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


def auroc_by_pairs(scores: list[float], labels: list[int]) -> float:
    """The share of pairs of a hallucinated and another row that are in order, ties half."""
    yes = [s for s, label in zip(scores, labels, strict=True) if label == 1]
    no = [s for s, label in zip(scores, labels, strict=True) if label == 0]
    return sum((a > b) + (a == b) / 2 for a in yes for b in no) / (len(yes) * len(no))


def delong_by_loops(
    first: list[float], second: list[float], labels: list[int], groups: list[int] | None = None
) -> tuple[float, float]:
    """Two AUROCs' difference and its variance, from the two scorers' covariance matrix.

    Without groups DeLong et al. (1988), eqs. 4 to 6; with groups Obuchowski (1997), eqs. 2 to 4.
    """
    rows = range(len(labels))
    yes, no = [i for i in rows if labels[i] == 1], [i for i in rows if labels[i] == 0]
    m, n = len(yes), len(no)

    def psi(a: float, b: float) -> float:
        return 1.0 if a > b else 0.5 if a == b else 0.0

    both = (first, second)
    theta = [sum(psi(s[i], s[j]) for i in yes for j in no) / (m * n) for s in both]
    v10 = [{i: sum(psi(s[i], s[j]) for j in no) / n for i in yes} for s in both]
    v01 = [{j: sum(psi(s[i], s[j]) for i in yes) / m for j in no} for s in both]

    def covariance(r: int, s: int) -> float:
        if groups is None:
            s10 = sum((v10[r][i] - theta[r]) * (v10[s][i] - theta[s]) for i in yes) / (m - 1)
            s01 = sum((v01[r][j] - theta[r]) * (v01[s][j] - theta[s]) for j in no) / (n - 1)
            return s10 / m + s01 / n
        names = sorted(set(groups))
        sum10 = [
            {g: sum(v10[k][i] - theta[k] for i in yes if groups[i] == g) for g in names}
            for k in (r, s)
        ]
        sum01 = [
            {g: sum(v01[k][j] - theta[k] for j in no if groups[j] == g) for g in names}
            for k in (r, s)
        ]
        i10, i01 = len({groups[i] for i in yes}), len({groups[j] for j in no})
        s10 = i10 / ((i10 - 1) * m) * sum(sum10[0][g] * sum10[1][g] for g in names)
        s01 = i01 / ((i01 - 1) * n) * sum(sum01[0][g] * sum01[1][g] for g in names)
        scale = len(names) / (len(names) - 1)
        s11 = scale * sum(sum10[0][g] * sum01[1][g] for g in names)
        s11_turned = scale * sum(sum01[0][g] * sum10[1][g] for g in names)
        return s10 / m + s01 / n + (s11 + s11_turned) / (m * n)

    variance = covariance(0, 0) + covariance(1, 1) - covariance(0, 1) - covariance(1, 0)
    return theta[0] - theta[1], variance


def holm_by_steps(p: list[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, as each rank's largest of the products before it."""
    ranked = sorted(p)
    products = [min(1.0, (len(p) - i) * value) for i, value in enumerate(ranked)]
    return [max(products[: ranked.index(value) + 1]) for value in p]


def selective_by_loops(scores: list[float], labels: list[int]) -> tuple[float, float]:
    """AURC and the prediction-rejection ratio of scores without ties, sample by sample."""
    n = len(labels)

    def area(order: list[int]) -> float:
        risks = [sum(labels[i] for i in order[:k]) / k for k in range(1, n + 1)]
        return sum(risks) / n

    aurc = area(sorted(range(n), key=lambda i: scores[i]))
    best = area(sorted(range(n), key=lambda i: labels[i]))
    risk = sum(labels) / n
    return aurc, (risk - aurc) / (risk - best)
