"""`kview demo`."""

import json

from kview.cli.main import main


def test_the_demo_beats_its_baselines(tmp_path, capsys):
    run = tmp_path / "demo"
    main(["demo", "--out", str(run)])
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["choice"]["validated"]
    chosen = evaluation["detectors"][evaluation["chosen"]]["auroc"]
    assert chosen > 0.85
    assert chosen > evaluation["baselines"]["probe"]["auroc"]
    assert chosen > evaluation["baselines"]["length"]["auroc"]
    config = json.loads((run / "config.json").read_text())
    assert config["layers"]["how"] == "selected"
    assert set(config["layers"]["ids"]) < set(range(7, 13))  # where the signal lies
    assert str(run / "report.html") in capsys.readouterr().out
