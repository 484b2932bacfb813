"""The examples of the gallery: each is a page with a title and cells, and uses nothing but what is public."""

import ast
import re

import pytest

import gnvpro
from tests import PROJECT

EXAMPLES = sorted((PROJECT / "docs" / "examples").glob("plot_*.py"))
# Modules, and names in modules, that the pages name beside those of `gnvpro` itself, and that a reader may import.
DOCUMENTED = {
    name
    for page in (PROJECT / "docs").rglob("*.md")
    for name in re.findall(r"\bgnvpro(?:\.[A-Za-z]\w*)+", page.read_text())
}


def imported(tree):
    """What an example takes from the package: module, and name or None."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.split(".")[0] == "gnvpro")
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gnvpro":
            yield from ((node.module, alias.name) for alias in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gnvpro":
            yield "gnvpro", node.attr


def not_public(tree):
    """Names and modules that no page documents, and private ones."""
    return [
        (module, name)
        for module, name in imported(tree)
        if not (
            (module == "gnvpro" and (name is None or name in gnvpro.__all__))
            or ({module, f"{module}.{name}"} & DOCUMENTED and not (name or "").startswith("_"))
        )
    ]


def absolute_paths(tree):
    """Texts that begin in a folder of the machine."""
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [text for text in texts if re.match(r"(/|[A-Za-z]:\\)[\w.]+[/\\]|~/", text.strip())]


def mistakes(text):
    """What keeps an example from being a page that a stranger can run."""
    tree, found = ast.parse(text), []
    lines = (ast.get_docstring(tree) or "").splitlines()
    if len(lines) < 4 or not re.fullmatch(r"=+", lines[1]) or len(lines[1]) < len(lines[0]):
        found.append("no title over a lead")
    if not any(line.strip() for line in lines[2:]):
        found.append("no lead")
    if len(re.findall(r"^# %%", text, flags=re.MULTILINE)) < 2:
        found.append("fewer than two cells after the first")
    for cell in re.split(r"^# %%.*\n", text, flags=re.MULTILINE)[1:]:
        prose = [line.removeprefix("#").strip() for line in cell.splitlines()[:2]]
        if len(prose) == 2 and re.fullmatch(r"[-=~^]{3,}", prose[1]) and len(prose[1]) < len(prose[0]):
            found.append(f"the line under {prose[0]!r} is too short")
    if not any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        found.append("nothing is asserted")
    found += [f"not public: {module} {name or ''}" for module, name in not_public(tree)]
    found += [f"absolute: {path}" for path in absolute_paths(tree)]
    return found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_page_that_a_stranger_can_run(example):
    assert mistakes(example.read_text()) == []


def test_there_are_examples():
    assert len(EXAMPLES) >= 7


GOOD = '''"""
Title
=====

A lead.
"""

import gnvpro
from gnvpro.fenicsx import points

# %%
# A cell
# ------

surrogate = gnvpro.load("runs/model")

# %%
assert surrogate
'''


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("=====", "===", "no title"),
        ("A lead.", "", "no lead"),
        ("# %%\nassert", "assert", "fewer than two cells"),
        ("# ------", "# ---", "'A cell' is too short"),
        ("assert surrogate", "print(surrogate)", "nothing is asserted"),
        ("gnvpro.load", "gnvpro.load_model", "not public: gnvpro load_model"),
        ("import gnvpro\n", "import gnvpro.surrogate.checks\n", "not public: gnvpro.surrogate.checks"),
        ("import points", "import _hidden", "not public: gnvpro.fenicsx _hidden"),
        ("runs/model", "/home/runs/model", "absolute: /home/runs/model"),
    ],
)
def test_a_mistake_is_found(old, new, said):
    assert mistakes(GOOD) == []
    broken = GOOD.replace(old, new, 1)
    assert broken != GOOD
    assert any(said in one for one in mistakes(broken))
