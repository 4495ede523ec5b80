"""The SupCon loss, encoders and resumable trainers."""

from .api import make_trainer, train_contrastive
from .calibration import Calibration, measure_layers
from .config import ContrastiveTrainerConfig, LayerAwareContrastiveTrainerConfig
from .contrastive import ContrastiveTrainer, LayerAwareContrastiveTrainer
from .encoders import ProgressiveCompressor
from .export import load_encoder, save_encoder
from .figures import EpochFigures, FitResult
from .layer_aware import Conditioning, LayerAwareProgressiveCompressor
from .run import RunFolder
from .step import StepOutput
from .supcon import SupConLoss, supcon_loss

__all__ = [
    "Calibration",
    "Conditioning",
    "ContrastiveTrainer",
    "ContrastiveTrainerConfig",
    "EpochFigures",
    "FitResult",
    "LayerAwareContrastiveTrainer",
    "LayerAwareContrastiveTrainerConfig",
    "LayerAwareProgressiveCompressor",
    "ProgressiveCompressor",
    "RunFolder",
    "StepOutput",
    "SupConLoss",
    "load_encoder",
    "make_trainer",
    "measure_layers",
    "save_encoder",
    "supcon_loss",
    "train_contrastive",
]
