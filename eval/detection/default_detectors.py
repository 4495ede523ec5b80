"""The detectors that are reported where none are chosen."""

from ...contracts import Detector
from .detectors import CosineDetector, KNNDetector
from .mahalanobis import MahalanobisDetector, RelativeMahalanobisDetector
from .two_class import LogisticDetector, TwoClassKNNDetector


def default_detectors(k: int = 10) -> dict[str, Detector]:
    """The detectors that are reported where none are chosen, unfitted."""
    return {
        "knn": KNNDetector(k),
        "mahalanobis": MahalanobisDetector(),
        "cosine": CosineDetector(),
        "relative_mahalanobis": RelativeMahalanobisDetector(),
        "two_class_knn": TwoClassKNNDetector(k),
        "logistic": LogisticDetector(),
    }
