"""What training says on stderr."""

from kview.train import EpochMetrics
from kview.train.progress import Progress

METRICS = EpochMetrics(
    epoch=0, lr=0.1, train_loss=2.5, train_intra_cos=0.5, train_intra_inter_margin=None
)


def test_a_line_per_epoch_names_the_metrics_that_there_are(capsys):
    with Progress(shown=True) as progress:
        progress.epoch_done(METRICS)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "epoch   1  loss 2.5000  intra cos 0.5000\n"


def test_it_is_silent_when_not_shown(capsys):
    with Progress(shown=False) as progress:
        progress.epoch(0, 1, 1, 0)
        progress.epoch_done(METRICS)
    assert capsys.readouterr() == ("", "")
