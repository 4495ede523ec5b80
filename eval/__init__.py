"""Metrics, evaluators, detectors and reports of K-view embeddings."""

from ..contracts.view_encoder import eval_mode
from ..contracts.views import sample_ids
from .cosine_evaluator import CosineEvaluator, CosineReport, CosineStatistics
from .detection.calibration import Calibration, ReliabilityBin
from .detection.choice import Choice
from .detection.comparison import Difference
from .detection.default_detectors import default_detectors
from .detection.detectors import CosineDetector, KNNDetector
from .detection.evaluate import evaluate_detection
from .detection.fit import FittedDetection, fit_detection
from .detection.intervals import Estimate
from .detection.mahalanobis import MahalanobisDetector, RelativeMahalanobisDetector
from .detection.neighbours import ChosenK, choose_k
from .detection.outputs import evaluation_json, write_evaluation
from .detection.reference import Reference, reference_set
from .detection.results import DetectionEvaluation, Scored, ScoredLayer
from .detection.score import score_detection
from .detection.scoring import DetectionMetrics, NoMetrics
from .detection.two_class import LogisticDetector, TwoClassKNNDetector
from .detection.verdict import Verdict
from .embedding import embed, evenly_spaced
from .evaluate import evaluate
from .evaluator import (
    ContrastiveEvalState,
    ContrastiveEvaluator,
    ContrastiveLoss,
    EvaluationMetrics,
)
from .manager import Evaluator, EvaluatorError, EvaluatorManager, ManagerStats
from .metrics import (
    KViewMetrics,
    KViewMetricValues,
    intra_inter_margin,
    intra_sample_cosine_mean,
    view_retrieval_top1,
)
from .report.matrix import write_matrix
from .report.page import write_report

__all__ = [
    "Calibration",
    "Choice",
    "ChosenK",
    "ContrastiveEvalState",
    "ContrastiveEvaluator",
    "ContrastiveLoss",
    "CosineDetector",
    "CosineEvaluator",
    "CosineReport",
    "CosineStatistics",
    "DetectionEvaluation",
    "DetectionMetrics",
    "Difference",
    "Estimate",
    "EvaluationMetrics",
    "Evaluator",
    "EvaluatorError",
    "EvaluatorManager",
    "FittedDetection",
    "KNNDetector",
    "KViewMetricValues",
    "KViewMetrics",
    "LogisticDetector",
    "MahalanobisDetector",
    "ManagerStats",
    "NoMetrics",
    "Reference",
    "RelativeMahalanobisDetector",
    "ReliabilityBin",
    "Scored",
    "ScoredLayer",
    "TwoClassKNNDetector",
    "Verdict",
    "choose_k",
    "default_detectors",
    "embed",
    "eval_mode",
    "evaluate",
    "evaluate_detection",
    "evaluation_json",
    "evenly_spaced",
    "fit_detection",
    "intra_inter_margin",
    "intra_sample_cosine_mean",
    "reference_set",
    "sample_ids",
    "score_detection",
    "view_retrieval_top1",
    "write_evaluation",
    "write_matrix",
    "write_report",
]
