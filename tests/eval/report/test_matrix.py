"""Several runs on several stores."""

import json

from kview.eval import DetectionMetrics, NoMetrics, write_matrix


def test_every_cell_has_its_metrics_or_its_reason(tmp_path, evaluation):
    cells = {
        ("a", "<one>"): evaluation,
        ("a", "two"): evaluation,
        ("b", "two"): NoMetrics(reason="hidden size 8 (the run: 16)"),
    }
    page = write_matrix(tmp_path, cells).read_text()
    written = json.loads((tmp_path / "matrix.json").read_text())["cells"]
    metrics = evaluation.detectors["knn"].metrics
    assert isinstance(metrics, DetectionMetrics)
    assert [(cell["run"], cell["store"]) for cell in written] == list(cells)
    assert written[0]["detectors"]["knn"]["auroc"] == metrics.auroc.value
    assert written[2]["reason"] == "hidden size 8 (the run: 16)"
    assert page.count(f"{metrics.auroc.value:.3f} <span") >= 2
    assert page.count("hidden size 8 (the run: 16)") == len(evaluation.scored)
    assert "&lt;one&gt;" in page
    assert "<one>" not in page
    assert page.count("<td>–</td>") == len(evaluation.scored)  # b on <one> was not tried


def test_reasons_are_shown_where_there_is_nothing_else(tmp_path):
    page = write_matrix(tmp_path, {("a", "b"): NoMetrics(reason="other layers")}).read_text()
    assert "a on b: other layers" in page
