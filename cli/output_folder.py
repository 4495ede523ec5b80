"""The folder of a run that an evaluation on another store goes to: one store each."""

from hashlib import sha256
from pathlib import Path

from ..contracts import CheckpointError
from ..eval.report.kept import kept_report
from .run_data import full_path


def output_folder(run: Path, store: str) -> Path:
    """`on-NAME` in the run's folder; with a digest of the store's path where another has that.

    Args:
        run: the run's folder.
        store: the store's path.
    """
    path = full_path(store)
    plain = run / f"on-{Path(path).name}"
    if not plain.exists() or _store_in(plain) == path:
        return plain
    return run / f"{plain.name}-{sha256(path.encode()).hexdigest()[:8]}"


def _store_in(folder: Path) -> object:
    """The store whose evaluation lies in a folder; None where none says."""
    try:
        return kept_report(folder).data_summary.get("store")
    except CheckpointError:
        return None
