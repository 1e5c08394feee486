"""What a stranger relies on who clones the repository."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from cake_edge.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 3 * 2**20
PRIVATE = re.compile(
    r"(?<![\w.])/(?:home|root|Users|work|opt)/\w"  # a path of somebody's machine
    r"|\b(?:index|extra-index|find-links)[-_]url\s*=?\s*\S*://"
    r"|https?://(?!(?:www\.)?(?:127\.0\.0\.1|localhost))[\w.-]*(?:pypi|pythonhosted|artifactory|nexus)",
    re.IGNORECASE,
)


SHELLS = ("", "sh", "bash", "console", "shell")


def tracked() -> list[Path]:
    """The files that git knows, or those of the source archive where there is no git."""
    if not (ROOT / ".git").exists():
        return [p for p in ROOT.rglob("*") if p.is_file() and ".venv" not in p.parts]
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


def texts() -> dict[str, str]:
    """The tracked files that are text, by name."""
    found = {}
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content:
            found[path.relative_to(ROOT).as_posix()] = content.decode("utf-8")
    return found


def blocks(text: str) -> list[str]:
    """The commands in the fenced blocks of a Markdown text, continued lines joined."""
    every = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    fenced = [body for language, body in every if language in SHELLS]
    lines = "\n".join(fenced).replace("\\\n", " ").splitlines()
    return [line.strip().removeprefix("$ ") for line in lines if line.strip()]


def commands(text: str) -> list[list[str]]:
    """The cake-edge commands in the fenced blocks, as the words that follow `cake-edge`."""
    words = [shlex.split(line, comments=True) for line in blocks(text) if "cake-edge " in line]
    starts = [[i for i, word in enumerate(w) if word.endswith("cake-edge")] for w in words]
    return [w[s[0] + 1 :] for w, s in zip(words, starts, strict=True) if s]


README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = {n: t for n, t in texts().items() if n.endswith(".md") and not n.startswith("tests/")}
RECIPES = sorted([*ROOT.glob("recipes/*.toml"), *ROOT.glob("cake_edge/assets/**/*.toml")])


def test_no_file_is_large():
    large = {str(path): path.stat().st_size for path in tracked() if path.stat().st_size > LARGEST}
    assert large == {}


def test_no_file_names_a_machine_or_a_package_host():
    me = Path(__file__).relative_to(ROOT).as_posix()
    found = {
        name: sorted({match[0] for match in PRIVATE.finditer(text)})
        for name, text in texts().items()
        if name != me and PRIVATE.search(text)
    }
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "see /home/ann/x", '"/opt/ann/runs"', "--find-links-url=https://h/x",
        "index-url = https://mirror.example/simple", "https://pypi.org/simple/torch",
        "https://files.pythonhosted.org/packages/x.whl",
    ],
)  # fmt: skip
def test_a_private_name_is_found(line):
    assert PRIVATE.search(line)


def test_everything_a_healthy_repository_has_is_there():
    for name in (
        "LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile",
        "constraints/locked.txt", "constraints/tools.txt", "constraints/build.txt",
        "cake_edge/py.typed", "exporters/py.typed",
    ):  # fmt: skip
        path = ROOT / name
        assert path.is_file(), name
        assert path.suffix == ".typed" or path.stat().st_size > 0, name


def test_continuous_integration_runs_the_readme_s_test_command_and_nothing_else():
    assert os.access(ROOT / ".ci/run", os.X_OK)
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    lines = [line for line in script.splitlines()[1:] if line and not line.startswith("#")]
    assert lines == [
        "set -euo pipefail",
        'cd "$(dirname "${BASH_SOURCE[0]}")/.."',
        "exec make test",
    ]
    assert "make test" in blocks(README)
    assert "make demo" in blocks(README)


def test_every_make_target_named_in_a_document_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = {
        match
        for text in DOCUMENTS.values()
        for match in re.findall(r"(?:`|^)make (\w+)", text, re.M)
    }
    assert {"demo", "test"} <= named <= targets


def test_the_readme_shows_commands():
    assert commands(README)


@pytest.mark.parametrize(
    "words",
    [pytest.param(w, id=" ".join(w)) for text in DOCUMENTS.values() for w in commands(text)],
)
def test_every_documented_command_parses(words, monkeypatch):
    if words[0].startswith("-"):
        assert words in (["--help"], ["-h"], ["--version"])
        return
    command = main.get_command(None, words[0])
    assert command is not None, f"{words[0]} is none of {', '.join(COMMANDS)}"
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):  # A reader has the files; this place has not.
            monkeypatch.setattr(parameter.type, "exists", False)
    command.make_context(words[0], words[1:], resilient_parsing="--help" in words)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_loads(path):
    # Here, so that collecting tests loads no torch.
    from cake_edge.recipe import load_recipe
    from cake_edge.teachers import TeacherConfig

    standard = path.name.endswith("classifier.toml")  # for a teacher that is named elsewhere
    teacher = TeacherConfig(reference="embedded") if standard else None
    assert load_recipe(path, teacher=teacher).name


def test_there_are_recipes():
    assert "efficientnet-lite0.toml" in [path.name for path in RECIPES]


def test_documents_link_to_one_another():
    assert sum(len(re.findall(r"\]\([^)\s:]+\)", text)) for text in DOCUMENTS.values()) > 50


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_inside_the_repository_leads_somewhere(name):
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", DOCUMENTS[name])
    for target in (one or other for one, other in targets):
        file, _, anchor = target.partition("#")
        if re.match(r"\w+:", target):
            continue
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), f"{name} links to {target}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{name}: #{anchor}"


def anchors(text: str) -> set[str]:
    """The names of a Markdown text's headings, as a link writes them."""
    headings = re.findall(r"^#+\s+(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}
