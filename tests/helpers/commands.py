"""Commands as tests run them, and what they run them on."""

import json
from pathlib import Path

import pytest

from kview.cli.main import main
from kview.data import write_synthetic_store


def train(store: Path, run: Path, *flags: str) -> None:
    """Two epochs of `kview train`."""
    main(
        ["train", str(store), "--out", str(run), "--max-epochs", "2", "--batch-size", "16", *flags]
    )


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that fails says on stderr."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    return capsys.readouterr().err


def sibling(path: Path) -> None:
    """Another store of the same model: other rows, and the name of the first one's model."""
    write_synthetic_store(path, num_rows=30, num_layers=5, hidden_size=16, max_tokens=4, seed=2)
    meta = path / "zarr.json"
    meta.write_text(meta.read_text().replace("synthetic (seed 2)", "synthetic (seed 1)"))


def change(path: Path, **settings: object) -> None:
    """Writes other values into the parts of a config.json."""
    config = json.loads(path.read_text())
    for part, values in settings.items():
        config[part] = values if not isinstance(values, dict) else {**config[part], **values}
    path.write_text(json.dumps(config))
