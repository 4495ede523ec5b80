"""The report in headless Chromium: no error, every picture drawn, wide or narrow, light or dark."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from kview.eval import write_report
from kview.eval.report.seeds import write_seeds_report

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (Debian's package of that name)"
)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)

MEASURE = """
<script>
const pictures = [...document.querySelectorAll("figure")].map(figure => {
  const svg = figure.querySelector("svg"), box = svg.getBBox(), frame = svg.viewBox.baseVal;
  const shown = figure.getBoundingClientRect();
  const spilt = Math.max(-box.x, -box.y, box.x + box.width - frame.width,
                         box.y + box.height - frame.height);
  return {name: figure.id, drawn: [box.width, box.height], shown: [shown.width, shown.height],
          spilt};
});
const page = document.documentElement;
const hidden = [page, ...document.querySelectorAll(".scroll")].map(
  part => part.scrollWidth - part.clientWidth);
const overflow = Math.max(...hidden), scripts = document.scripts.length;
parent.postMessage({pictures, overflow, scripts, width: page.clientWidth}, "*");
</script>
"""

# In a frame, because Chromium's window is never narrower than 500 pixels.
FRAME = """
<pre id="measured"></pre>
<script>
onmessage = message => {{
  document.getElementById("measured").textContent = JSON.stringify(message.data);
}};
</script>
<iframe src="measured.html" width="{width}" height="900" frameborder="0"></iframe>
"""

NASTY = "<script>document.title = 'taken'; throw Error('taken')</script><h1>big</h1>"


@dataclass
class Text:
    prompt: str
    response: str


@pytest.fixture(scope="module")
def page(tmp_path_factory, evaluation) -> Path:
    figures = ("loss", "intra_inter_margin")
    return write_report(
        tmp_path_factory.mktemp("report"),
        evaluation=evaluation,
        metrics=[
            {
                "epoch": e,
                **{f"{part}_{f}": 1 / (e + 1) for part in ("train", "val") for f in figures},
            }
            for e in range(4)
        ],
        config={"num_views": 3},
        data_summary={"rows": 100},
        texts={key: Text(prompt=NASTY, response=NASTY) for key in evaluation.hashkeys},
    )


def chromium(page: Path, profile: Path, *flags: str) -> tuple[str, list[str]]:
    """What Chromium prints, and the lines of its console."""
    assert CHROMIUM is not None
    run = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return run.stdout, [line for line in run.stderr.splitlines() if ":CONSOLE" in line]


def measured(page: Path, folder: Path, width: int) -> dict:
    """The page's own measurements at a width, by a script that only this test adds to a copy."""
    copy, frame = folder / "measured.html", folder / "frame.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{MEASURE}</body>"))
    frame.write_text(FRAME.format(width=width))
    dom, console = chromium(frame, folder / "profile", "--window-size=1400,1000", "--dump-dom")
    assert console == []
    found = re.search(r'<pre id="measured">(.*?)</pre>', dom)
    assert found is not None
    return json.loads(unescape(found[1]))


@pytest.mark.parametrize("width", [1200, 390])
def test_every_picture_is_drawn_and_nothing_is_cut_off(page, tmp_path, width):
    found = measured(page, tmp_path, width)
    assert found["width"] == width
    names = {picture["name"] for picture in found["pictures"]}
    assert {
        "train_loss",
        "val_loss",
        "roc",
        "histogram_knn",
        "reliability",
        "auroc_by_layer",
        "layer_similarity",
        "projection_by_label",
    } <= names
    assert names == {file.stem for file in (page.parent / "figures").iterdir()}
    for picture in found["pictures"]:
        assert min(picture["drawn"]) > 100, picture
        assert min(picture["shown"]) > 150, picture
        assert picture["shown"][0] <= width
        assert picture["spilt"] < 1, picture  # no word of it is cut off
    assert found["overflow"] <= 0
    assert found["scripts"] == 1  # the measuring one: what texts hold stayed text


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_over_seeds_is_drawn_and_not_cut_off(evaluation, tmp_path, width):
    epochs = [{"epoch": e, "train_loss": 1.0, "train_intra_inter_margin": 0.1} for e in range(3)]
    page = write_seeds_report(
        tmp_path,
        evaluations={41: evaluation, 42: evaluation},
        metrics={41: epochs, 42: epochs},
        pages={41: "seed-41/report.html", 42: "seed-42/report.html"},
    )
    found = measured(page, tmp_path, width)
    assert len(found["pictures"]) == 2
    assert all(min(picture["drawn"]) > 100 for picture in found["pictures"])
    assert found["overflow"] <= 0


def test_a_script_that_failed_would_be_seen(page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text("<script>throw Error('seen')</script>")
    _, console = chromium(broken, tmp_path / "profile", "--dump-dom")
    assert any("seen" in line for line in console)


def test_light_and_dark_are_two_looks(page, tmp_path):
    paper = {}
    for scheme, number in (("dark", 0), ("light", 1)):
        picture = tmp_path / f"{scheme}.png"
        chromium(
            page,
            tmp_path / scheme,
            "--window-size=1200,2400",
            f"--blink-settings=preferredColorScheme={number}",
            f"--screenshot={picture}",
        )
        pixels = imread(picture)[..., :3]
        paper[scheme] = float(pixels[5, 5].mean())
        ink = np.abs(pixels - pixels[5, 5]).max(axis=-1) > 0.4
        assert ink.mean() > 0.01  # text and pictures stand out from the paper
    assert paper["dark"] < 0.2
    assert paper["light"] > 0.8


def test_it_prints(page, tmp_path):
    printed = tmp_path / "report.pdf"
    chromium(page, tmp_path / "profile", f"--print-to-pdf={printed}")
    assert printed.read_bytes().startswith(b"%PDF")
    assert printed.stat().st_size > 20_000
