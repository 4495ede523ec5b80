"""What stands twice in the repository's own files says the same."""

import itertools
import re
import subprocess
import tomllib

import yaml

from helpers.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "message", "authors"} <= citation.keys()
    holder = re.search(r"Copyright \(c\) \d+ (.*)", (ROOT / "LICENSE").read_text())
    assert holder is not None
    assert citation["authors"] == [{"name": holder.group(1)}]


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## {PROJECT['version']}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_workflow_runs_the_projects_check_on_every_promised_python() -> None:
    [job] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    promised = [
        version
        for line in PROJECT["classifiers"]
        for version in re.findall(r"Python :: (\d+\.\d+)$", line)
    ]
    assert job["strategy"]["matrix"]["python"] == promised
    assert {"run": ".ci/run"} in job["steps"]


def test_hooks_are_the_tools_of_the_check() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [hook["entry"] for repo in hooks for hook in repo["hooks"]]
    makefile = (ROOT / "Makefile").read_text().replace("$(BIN)", ".venv/bin")
    for entry in entries:
        tool = entry.replace(" --force-exclude", "")
        assert f"\t{tool} ." in makefile or tool == "make --quiet check"


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [targets] = re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)
    command = ["make", "--no-print-directory", "help"]  # for this test may run under make itself
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    named = [line.split()[1] for line in told.stdout.splitlines()]
    assert sorted(named) == sorted(targets.split())


def test_everything_asked_for_is_pinned() -> None:
    """Every package that pyproject.toml asks for has one version in constraints.txt."""
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    )
    asked = itertools.chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    names = {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in asked}
    assert names - {"kview"} <= pins.keys()
