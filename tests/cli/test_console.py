"""How commands speak."""

import io

from rich.console import Console

from helpers.commands import train
from kview.cli import console
from kview.cli.main import main


def test_bars_show_what_is_done_where_there_is_a_terminal(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=shown, force_terminal=True, width=100))
    with console.shown_progress() as progress:
        progress("embedding test rows", 3, 10)
        progress("embedding test rows", 7, 10)
        progress("probing layers", 1, 2)
    assert "embedding test rows" in shown.getvalue()
    assert "7/10" in shown.getvalue()
    assert "probing layers" in shown.getvalue()


def test_without_a_terminal_there_are_none(capsys):
    with console.shown_progress() as progress:
        progress("embedding test rows", 3, 10)
    assert capsys.readouterr() == ("", "")


def test_train_and_evaluate_say_how_far_they_are(store, tmp_path, monkeypatch):
    said: dict[str, tuple[int, int]] = {}

    class Told:
        def __enter__(self):
            return lambda what, done, total: said.update({what: (done, total)})

        def __exit__(self, *_):
            return None

    for module in ("layers", "scored_run"):
        monkeypatch.setattr(f"kview.cli.{module}.shown_progress", Told)
    train(store, tmp_path / "run")
    assert said == {"reading layers": (56, 56), "selecting layers": (5, 5)}
    said.clear()
    main(["evaluate", str(tmp_path / "run")])
    assert said == {
        "embedding train rows": (56, 56),
        "embedding val rows": (8, 8),
        "embedding test rows": (16, 16),
        "probing layers": (5, 5),
    }
