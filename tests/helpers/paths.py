"""Where the repository's parts lie, wherever a test stands."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
HELPERS = TESTS / "helpers"
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
REAL = ROOT.parent / "shared" / "real"
"""Real activations; beside the checkout where there are any."""
ROOMS = ("contracts", "data", "eval", "train", "cli")
"""The rooms' folders, from the ground floor up."""
