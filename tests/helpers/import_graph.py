"""Which file imports which, read from the sources without running them."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

Graph = Mapping[str, frozenset[str]]
"""The modules that each module imports, by their full names."""


def import_graph(root: Path, *rooms: str) -> Graph:
    """The graph of the modules in the rooms' folders; imports of anything else are left out.

    Imports inside functions and under `TYPE_CHECKING` count like any other.
    """
    files = {
        module_name(root, path): path for room in rooms for path in (root / room).rglob("*.py")
    }
    return {
        name: frozenset(
            target if target in files else target.rpartition(".")[0]
            for target in imported(root, path)
        )
        & files.keys()
        for name, path in files.items()
    }


def module_name(root: Path, path: Path) -> str:
    """`kview.data.store` of data/store.py, `kview.data` of data/__init__.py."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(("kview", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imported(root: Path, path: Path) -> Iterator[str]:
    """The full names that a file imports, wherever in it: `kview.data.ActivationStore`."""
    package = ["kview", *path.relative_to(root).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def reached(graph: Graph, start: str) -> set[str]:
    """Every module that a module imports, directly or through others."""
    found: set[str] = set()
    ahead = [start]
    while ahead:
        fresh = graph[ahead.pop()] - found
        found |= fresh
        ahead += fresh
    return found


def cycles(graph: Graph) -> list[list[str]]:
    """The modules that import each other, directly or through others, cycle by cycle."""
    below = {name: reached(graph, name) for name in graph}
    components = {
        tuple(sorted(other for other in below[name] if name in below[other]))
        for name in graph
        if name in below[name]
    }
    return [list(component) for component in sorted(components)]
