"""`kview demo`."""

import json

from kview.cli.main import main


def test_the_demo_beats_its_baselines(tmp_path, capsys):
    run = tmp_path / "demo"
    main(["demo", "--out", str(run)])
    evaluation = json.loads((run / "evaluation.json").read_text())
    knn = evaluation["detectors"]["knn"]["auroc"]
    assert knn > 0.8
    assert knn > evaluation["baselines"]["probe"]["auroc"]
    assert knn > evaluation["baselines"]["length"]["auroc"]
    assert str(run / "report.html") in capsys.readouterr().out
