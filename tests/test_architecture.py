"""The house as a whole: arrows between rooms, light imports, curated names, forbidden ones."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from helpers.import_graph import cycles, import_graph, reached
from helpers.paths import ROOMS, ROOT

MAY_IMPORT = {
    "contracts": set(),
    "data": {"contracts"},
    "eval": {"contracts"},
    "train": {"contracts", "eval"},
    "cli": {"contracts", "data", "eval", "train"},
}

FLOORS = {
    "contracts": (
        *("errors", "levels", "checking", "contract", "views embeddings", "protocols"),
        *("view_encoder", "conformance"),
    ),
    "data": (
        *(
            "layout",
            "part",
            "family",
            "native hallulens hallulens_capture arrays",
            "families",
            "store",
            "dataset",
        ),
        "parser",
    ),
    "eval": ("detection.results", "detection.outputs", "report"),
    "train": ("loss", "encoders", "run", "loop", "trainer", "train_encoder"),
    "cli": ("settings", "run_data", "train scored_run", "evaluate", "demo", "main"),
}
"""The parts of a room from the ground up; those of one floor do not know each other."""

GRAPH = import_graph(ROOT, *ROOMS)

HEAVY = (
    *("zarr", "lightning_fabric", "hypothesis", "pytest", "matplotlib", "sklearn", "beartype"),
    "pydantic",
)

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


def room_of(module: str) -> str:
    return module.split(".")[1]


# Arrows


@pytest.mark.parametrize("module", GRAPH)
def test_arrows_between_rooms_run_downwards(module: str) -> None:
    used = {room_of(name) for name in GRAPH[module]}
    assert used <= MAY_IMPORT[room_of(module)] | {room_of(module)}


def members(room: str, part: str) -> set[str]:
    """The modules of a part: of a file, or of a folder and all in it."""
    name = f"kview.{room}.{part}"
    return {module for module in GRAPH if module == name or module.startswith(f"{name}.")}


@pytest.mark.parametrize("room", FLOORS)
def test_arrows_inside_a_room_run_downwards(room: str) -> None:
    """No part reaches one of its own floor or above, not through others either."""
    floors = [{part: members(room, part) for part in floor.split()} for floor in FLOORS[room]]
    assert all(modules for floor in floors for modules in floor.values())
    reaching = [
        f"{module} -> {target}"
        for i, floor in enumerate(floors)
        for part, modules in floor.items()
        for module in modules
        for above in floors[i:]
        for other, others in above.items()
        if other != part
        for target in others & reached(GRAPH, module)
    ]
    assert reaching == []


def test_no_two_files_import_each_other() -> None:
    assert cycles(GRAPH) == []


def test_the_search_for_cycles_can_fail(tmp_path: Path) -> None:
    planted = {
        "__init__.py": "",
        "one.py": "from .two import x\nfrom . import four",
        "two.py": "def f():\n    from .deep.three import y",
        "deep/__init__.py": "",
        "deep/three.py": "if TYPE_CHECKING:\n    from .. import one\nimport json",
        "four.py": "from ..data import five",
        "five.py": "",
    }
    for name, text in planted.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    graph = import_graph(tmp_path, "data")
    assert cycles(graph) == [["kview.data.deep.three", "kview.data.one", "kview.data.two"]]
    assert reached(graph, "kview.data.four") == {"kview.data.five"}


def test_the_graph_sees_what_is_imported() -> None:
    assert GRAPH["kview.cli.__main__"] == {"kview.cli.main"}
    assert "kview.data" in GRAPH["kview.cli.run_data"]
    assert "kview.contracts.errors" in GRAPH["kview.contracts.views"]


@pytest.mark.parametrize("path", sources(*ROOMS), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_is_short_enough_to_be_read_whole(path: Path) -> None:
    """The lines of examples in docstrings apart."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    assert sum(not line.startswith((">>> ", "... ")) for line in lines) <= 300


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


@pytest.mark.parametrize("name", PROMISED)
def test_a_promised_name_shows_what_it_is_for(name: str) -> None:
    """An example stands in its docstring; those of all docstrings are run."""
    module = importlib.import_module(name)
    promised = [n for n in PROMISED[name].split() if n != "IGNORE_LABEL"]  # a number has none
    assert [n for n in promised if ">>> " not in (getattr(module, n).__doc__ or "")] == []


def test_the_map_shows_every_file_of_the_rooms() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    shown = re.findall(r"^\| `((?:" + "|".join(ROOMS) + r")/[\w/]+\.py)` \| \S", page, re.MULTILINE)
    assert sorted(shown) == [str(path.relative_to(ROOT)) for path in sources(*ROOMS)]


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
