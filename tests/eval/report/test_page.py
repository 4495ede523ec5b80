"""The report."""

import html
import re
import subprocess
import sys
from dataclasses import dataclass

from kview.eval import write_report

METRICS = [
    {
        "epoch": epoch,
        "train_loss": 3.0 / (epoch + 1),
        "val_loss": 3.2 / (epoch + 1),
        "train_intra_inter_margin": 0.2 * epoch,
        "val_intra_inter_margin": 0.18 * epoch,
    }
    for epoch in range(4)
]

LOSSES = ("train_loss", "val_loss")


@dataclass
class Text:
    prompt: str
    response: str


def written(folder, evaluation, **changes) -> str:
    parts = {
        "metrics": METRICS,
        "config": {"num_views": 3, "lr": 0.001},
        "data_summary": {"rows": 100, "model": "tiny"},
    }
    return write_report(folder, evaluation=evaluation, **{**parts, **changes}).read_text()


def test_the_report_is_one_self_contained_page(tmp_path, evaluation):
    page = written(tmp_path, evaluation)
    for name in (*evaluation.detectors, *evaluation.baselines):
        assert f">{name}</th>" in page
    for name in (
        "train_loss",
        "val_loss",
        "intra_inter_margin",
        "roc",
        "risk_coverage",
        "reliability",
        "histogram_knn",
    ):
        assert f'<figure id="{name}"><svg' in page
        assert (tmp_path / "figures" / f"{name}.svg").read_text().startswith("<svg")
    assert "num_views" in page
    assert "tiny" in page
    outside = re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', page)
    assert outside == []
    assert not re.search(r"@import|<script|url\(", page.replace("url(#", ""))


def test_the_verdict_stands_at_the_head_and_what_rows_are_too_few_for_below(tmp_path, evaluation):
    page = written(tmp_path, evaluation)
    head = page[: page.index("<table>")]
    assert html.escape(evaluation.verdict.sentence) in head
    for note in evaluation.notes:
        assert note in page


def test_the_primary_comparison_is_marked(tmp_path, evaluation):
    page = written(tmp_path, evaluation)
    chosen, best = evaluation.choice.name, evaluation.best_baseline.name
    assert page.count('<tr class="primary">') == 1
    against = f'<td data-label="less that of">{best}</td>'
    assert f'<tr class="primary"><th scope="row">{chosen}</th>{against}' in page


def test_texts_are_shown_as_text(tmp_path, evaluation):
    nasty = "<script>alert('x')</script><img src=x>"
    texts = {key: Text(prompt=nasty, response=f"{nasty} & more") for key in evaluation.hashkeys}
    page = written(tmp_path, evaluation, texts=texts, data_summary={nasty: nasty})
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page


def test_a_report_without_epochs_and_texts_is_still_one(tmp_path, evaluation):
    page = written(tmp_path, evaluation, metrics=[])
    assert '<figure id="train_loss">' not in page
    assert "Hardest samples" in page


def test_the_validation_loss_is_not_drawn_beside_that_of_training(tmp_path, evaluation):
    page = written(tmp_path, evaluation)
    drawn = {name: (tmp_path / "figures" / f"{name}.svg").read_text() for name in LOSSES}
    assert [">training loss<" in svg for svg in drawn.values()] == [True, False]
    assert [">validation loss<" in svg for svg in drawn.values()] == [False, True]
    assert not any(">val<" in svg or ">train<" in svg for svg in drawn.values())
    assert "its height says nothing beside training" in page
    alone = [{k: v for k, v in line.items() if k != "val_loss"} for line in METRICS]
    assert '<figure id="val_loss">' not in written(tmp_path, evaluation, metrics=alone)


def test_equal_input_gives_equal_bytes(tmp_path, evaluation):
    assert written(tmp_path / "a", evaluation) == written(tmp_path / "b", evaluation)


def test_the_package_loads_no_plotting_library():
    code = (
        "import sys, kview.eval; "
        "print([m for m in ('matplotlib', 'jinja2', 'sklearn', 'zarr') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
