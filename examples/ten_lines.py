"""Training and evaluating in ten lines.

python examples/ten_lines.py
"""

from tempfile import TemporaryDirectory

import torch

from kview.data import ActivationParser, write_synthetic_store
from kview.eval import DetectionMetrics, evaluate_detection, evenly_spaced
from kview.train import ContrastiveTrainerConfig, ProgressiveCompressor, train_contrastive


def main(path: str) -> None:
    """Trains on 4 of 8 layers and scores the test rows."""
    parser = ActivationParser(None, None, path, group_by="group")
    train, test = (parser.get_dataset(split, num_views=4) for split in ("train", "test"))
    encoder = ProgressiveCompressor(parser.store.hidden_size, embedding_dim=16)
    config = ContrastiveTrainerConfig(num_views=4, max_epochs=10, lr=3e-3, temperature=0.2)
    train_contrastive(encoder, train, config=config)
    found = evaluate_detection(
        encoder,
        train=train.with_views(range(8)),
        test=test.with_views(range(8)),
        views=evenly_spaced(8, 4),
    )
    for name, scored in found.scored.items():
        assert isinstance(scored.metrics, DetectionMetrics)
        print(f"{name:12} AUROC {scored.metrics.auroc.value:.3f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        store = f"{folder}/store.zarr"
        write_synthetic_store(
            store, num_rows=600, num_layers=8, hidden_size=32, max_tokens=8, signal=1.5
        )
        main(store)
