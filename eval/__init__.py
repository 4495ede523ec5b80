"""Metrics, evaluators, detectors and reports of K-view embeddings."""

from ..contracts.view_encoder import eval_mode
from ..contracts.views import sample_ids
from .cosine_evaluator import CosineEvaluator, CosineFigures, CosineReport
from .detection.detectors import (
    CosineDetector,
    KNNDetector,
    MahalanobisDetector,
    Reference,
    reference_set,
)
from .detection.evaluate import default_detectors, evaluate_detection
from .detection.neighbours import ChosenK, choose_k
from .detection.results import DetectionEvaluation, Scored, ScoredLayer
from .detection.scoring import DetectionFigures, Difference, Figure, NoFigures
from .embedding import embed, evenly_spaced
from .evaluate import evaluate
from .evaluator import ContrastiveEvalState, ContrastiveEvaluator, ContrastiveLoss, EvalFigures
from .manager import Evaluator, EvaluatorError, EvaluatorManager, ManagerStats
from .metrics import (
    KViewFigures,
    KViewMetrics,
    intra_inter_margin,
    intra_sample_cosine_mean,
    view_retrieval_top1,
)
from .report.matrix import write_matrix
from .report.page import write_report

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
