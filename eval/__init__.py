"""Metrics, evaluators, detectors and reports of K-view embeddings."""

from .choose_k import ChosenK, choose_k
from .cosine_evaluator import CosineEvaluator, CosineFigures, CosineReport
from .detection import default_detectors, evaluate_detection
from .detectors import (
    CosineDetector,
    KNNDetector,
    MahalanobisDetector,
    Reference,
    reference_set,
)
from .embedding import embed, evenly_spaced
from .evaluation import evaluate
from .evaluator import (
    ContrastiveEvalState,
    ContrastiveEvaluator,
    ContrastiveLoss,
    EvalFigures,
)
from .manager import Evaluator, EvaluatorError, EvaluatorManager, ManagerStats
from .matrix import write_matrix
from .metrics import (
    KViewFigures,
    KViewMetrics,
    intra_inter_margin,
    intra_sample_cosine_mean,
    view_retrieval_top1,
)
from .modes import eval_mode
from .report import write_report
from .results import DetectionEvaluation, Scored, ScoredLayer
from .sample_ids import sample_ids
from .scoring import DetectionFigures, Difference, Figure, NoFigures

__all__ = [
    "ChosenK",
    "ContrastiveEvalState",
    "ContrastiveEvaluator",
    "ContrastiveLoss",
    "CosineDetector",
    "CosineEvaluator",
    "CosineFigures",
    "CosineReport",
    "DetectionEvaluation",
    "DetectionFigures",
    "Difference",
    "EvalFigures",
    "Evaluator",
    "EvaluatorError",
    "EvaluatorManager",
    "Figure",
    "KNNDetector",
    "KViewFigures",
    "KViewMetrics",
    "MahalanobisDetector",
    "ManagerStats",
    "NoFigures",
    "Reference",
    "Scored",
    "ScoredLayer",
    "choose_k",
    "default_detectors",
    "embed",
    "eval_mode",
    "evaluate",
    "evaluate_detection",
    "evenly_spaced",
    "intra_inter_margin",
    "intra_sample_cosine_mean",
    "reference_set",
    "sample_ids",
    "view_retrieval_top1",
    "write_matrix",
    "write_report",
]
