"""The house as a whole: arrows between rooms, light imports, curated names, forbidden ones."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from helpers.paths import ROOT

ROOMS = ("contracts", "data", "eval", "train", "cli")

MAY_IMPORT = {
    "contracts": set(),
    "data": {"contracts"},
    "eval": {"contracts"},
    "train": {"contracts", "eval"},
    "cli": {"contracts", "data", "eval", "train"},
}

HEAVY = ("zarr", "lightning_fabric", "hypothesis", "pytest", "matplotlib", "sklearn", "beartype")

PROMISED = {
    "kview.contracts": """KViewItem KViewBatch FlatViews EmbeddingBatch EmbeddingRecord
        restore_views ContractError KViewError StoreError LabelError ConfigError CheckpointError
        NotFittedError IGNORE_LABEL boundary checks install_checks""",
    "kview.contracts.strategies": """kview_items kview_batches embedding_batches
        invalid_kview_batches""",
    "kview.contracts.conformance": "check_encoder check_dataset",
    "kview.data": """ActivationStore ActivationWriter ActivationDataset ActivationParser
        collate_kview write_synthetic_store verify_store convert_store""",
    "kview.train": """supcon_loss SupConLoss ProgressiveCompressor
        LayerAwareProgressiveCompressor ContrastiveTrainerConfig
        LayerAwareContrastiveTrainerConfig ContrastiveTrainer LayerAwareContrastiveTrainer
        train_contrastive load_encoder""",
    "kview.eval": """intra_sample_cosine_mean intra_inter_margin view_retrieval_top1 KViewMetrics
        ContrastiveEvaluator ContrastiveEvalState evaluate EvaluatorManager KNNDetector
        MahalanobisDetector CosineDetector""",
}

# Spelt in two halves, so that this file is not found by its own search.
PAIR_ERA = re.compile(
    r"\b(layer[12]" + r"_\w+|z[12]|pairing" + r"_accuracy|average_cosine" + r"_similarity|"
    r"_contrastive_collate" + r"_min|total" + r"_acc|accumulated_z" + r"[12]|_buffer_x" + r"[12])\b"
)


def sources(*folders: str) -> list[Path]:
    return sorted(p for f in folders for p in (ROOT / f).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Absolute names of the modules that a file imports, wherever in it."""
    package = ["kview", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield stem
            yield from (f"{stem}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sources(*ROOMS), ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_between_rooms_run_downwards(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    used = {name.split(".")[1] for name in imports(path) if name.startswith("kview.")}
    assert used & set(ROOMS) <= MAY_IMPORT[room] | {room}


def test_the_search_for_imports_sees_every_form() -> None:
    assert "kview.data" in set(imports(ROOT / "cli" / "train.py"))
    assert "kview.contracts.errors" in set(imports(ROOT / "contracts" / "views.py"))


@pytest.mark.parametrize("path", sources(*ROOMS), ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_each_other_relatively(path: Path) -> None:
    tree = ast.parse(path.read_text())
    absolute = [
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.level and node.module
        if node.module.partition(".")[0] == "kview"
    ]
    assert absolute == []


@pytest.mark.parametrize(
    "path",
    sources("tests", "examples", "benchmarks"),
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_outside_the_rooms_only_kview_is_imported(path: Path) -> None:
    """`import contracts` would load a second copy of every class."""
    tree = ast.parse(path.read_text())
    named = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.level and node.module
    }
    assert not {name.partition(".")[0] for name in named} & set(ROOMS)


def loaded_by(statement: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after a statement."""
    program = f"{statement}\nimport sys\nprint(*{{n.partition('.')[0] for n in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(run.stdout.split())


def test_importing_contracts_is_light() -> None:
    assert not loaded_by("import kview.contracts") & set(HEAVY)


def test_the_search_for_heavy_imports_can_fail() -> None:
    assert "hypothesis" in loaded_by("import hypothesis")


def room_modules() -> list[ModuleType]:
    return [importlib.import_module(f"kview.{room}") for room in ROOMS if room != "cli"]


@pytest.mark.parametrize("module", room_modules(), ids=lambda module: module.__name__)
def test_all_is_what_a_room_offers(module: ModuleType) -> None:
    submodules = {p.stem for p in Path(str(module.__file__)).parent.glob("*.py")}
    submodules |= {p.name for p in Path(str(module.__file__)).parent.iterdir() if p.is_dir()}
    public = {name for name in vars(module) if not name.startswith("_")} - submodules
    exported = set(module.__all__)
    assert len(exported) == len(module.__all__)
    # a name may be that of its own module: `kview.contracts.boundary` is the function
    assert public <= exported
    assert exported <= {
        name for name in vars(module) if not isinstance(getattr(module, name), ModuleType)
    }


@pytest.mark.parametrize("name", PROMISED)
def test_the_promised_names_are_there(name: str) -> None:
    module = importlib.import_module(name)
    missing = [n for n in PROMISED[name].split() if not hasattr(module, n)]
    assert missing == []


def test_every_room_is_typed() -> None:
    for room in ROOMS:
        assert (ROOT / room / "py.typed").exists()


def texts() -> list[Path]:
    kinds = (".py", ".md", ".toml", ".html", ".txt", ".ipynb")
    folders = [*ROOMS, "tests", "examples", "benchmarks", "docs"]
    found = [p for f in folders for p in (ROOT / f).rglob("*") if p.suffix in kinds]
    return sorted([*found, ROOT / "README.md", ROOT / "pyproject.toml"])


def test_no_name_of_the_pair_era_is_left() -> None:
    """The page on migration apart, which says what became of them."""
    here = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in texts()
        if path.name != "migration.md"
        for match in PAIR_ERA.finditer(path.read_text())
    ]
    assert here == []


def test_the_search_for_names_of_the_pair_era_can_fail() -> None:
    for name in ("layer1" + "_idx", "z" + "1", "total" + "_acc", "_buffer_x" + "2"):
        assert PAIR_ERA.search(f"x = {name}[0]")
    assert not PAIR_ERA.search("z_views, z10, layer_idx")
