"""The SupCon loss, encoders and resumable trainers."""

from .config import ContrastiveTrainerConfig, LayerAwareContrastiveTrainerConfig
from .encoders.layer_aware import Conditioning, LayerAwareProgressiveCompressor
from .encoders.layer_statistics import LayerStatistics, measure_layers
from .encoders.progressive import ProgressiveCompressor
from .encoders.standardization import LayerStandardization
from .encoders.weights_file import load_encoder, save_encoder
from .layer_selection import LayerSelection, select_layers
from .loss.supcon import SupConLoss, supcon_loss
from .results import EpochMetrics, FitResult, StepOutput
from .run.folder import RunFolder
from .train_encoder import make_trainer, train_contrastive
from .trainer import ContrastiveTrainer, LayerAwareContrastiveTrainer

__all__ = [
    "Conditioning",
    "ContrastiveTrainer",
    "ContrastiveTrainerConfig",
    "EpochMetrics",
    "FitResult",
    "LayerAwareContrastiveTrainer",
    "LayerAwareContrastiveTrainerConfig",
    "LayerAwareProgressiveCompressor",
    "LayerSelection",
    "LayerStandardization",
    "LayerStatistics",
    "ProgressiveCompressor",
    "RunFolder",
    "StepOutput",
    "SupConLoss",
    "load_encoder",
    "make_trainer",
    "measure_layers",
    "save_encoder",
    "select_layers",
    "supcon_loss",
    "train_contrastive",
]
