"""The shape of the code: modules and functions that can be read in one go, and a sentence at the top of each."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "aioqueue"
MODULES = sorted(PACKAGE.rglob("*.py"))
MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70


def name_of(module: Path) -> str:
    return str(module.relative_to(PACKAGE.parent))


def test_the_package_was_found() -> None:
    assert PACKAGE / "errors" / "__init__.py" in MODULES


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_is_short_and_says_what_it_is(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) <= MODULE_LINES_MAX
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_function_fits_a_screen(module: Path) -> None:
    functions = (node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, FUNCTIONS))
    long = [f.name for f in functions if f.end_lineno and f.end_lineno - f.lineno + 1 > FUNCTION_LINES_MAX]
    assert long == []


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# --- circles -------------------------------------------------------------------------------------------------------

# By the modules of each. Nothing is added here: whoever cuts one strikes it off.
KNOWN_CIRCLES = {
    frozenset({"aioqueue.broker.broker", "aioqueue.broker.peer"}),
    frozenset(
        {
            "aioqueue", "aioqueue.worker", "aioqueue.worker.calls", "aioqueue.worker.runners",
            "aioqueue.worker.session", "aioqueue.worker.stacks", "aioqueue.worker.watchdog", "aioqueue.worker.worker",
        }
    ),
    frozenset(
        {
            "aioqueue.client.annotations", "aioqueue.client.context", "aioqueue.client.named",
            "aioqueue.client.signature", "aioqueue.client.task",
        }
    ),
}  # fmt: skip


def dotted(module: Path, root: Path) -> str:
    return ".".join(module.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imports_of(root: Path, package: str) -> dict[str, set[str]]:
    """Which modules of the package each of them names: while it loads, within a function, and for types only."""
    modules = {dotted(path, root): path for path in (root / package).rglob("*.py")}
    found: dict[str, set[str]] = {}
    for name, path in modules.items():
        named: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                named.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                # A package is named by what is taken from its own module, not by the way to one within.
                named |= inner if inner <= modules.keys() else {*(inner & modules.keys()), node.module}
        found[name] = (named & modules.keys()) - {name}
    return found


def circles_in(imports: dict[str, set[str]]) -> set[frozenset[str]]:
    """The groups of modules each of which leads to all others of its group."""
    reached: dict[str, set[str]] = {}
    for name in imports:
        seen: set[str] = set()
        open_ends = [name]
        while open_ends:
            for other in imports[open_ends.pop()] - seen:
                seen.add(other)
                open_ends.append(other)
        reached[name] = seen
    groups = (frozenset(other for other in reached[name] if name in reached[other]) for name in imports)
    return {group for group in groups if group}


def test_no_modules_import_each_other_in_a_circle() -> None:
    circles = circles_in(imports_of(PACKAGE.parent, PACKAGE.name))
    new = [sorted(circle) for circle in circles - KNOWN_CIRCLES]
    gone = [sorted(circle) for circle in KNOWN_CIRCLES - circles]
    assert not new
    assert not gone, "strike it off KNOWN_CIRCLES"


def test_a_circle_through_a_function_or_for_types_only_is_one_too(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    for name, text in {
        "__init__": "from room.first import a",
        "first": "def a():\n    from room import second",
        "second": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from room.third import c",
        "third": "from room.first import a",
        "fourth": "import room.third",
    }.items():
        (tmp_path / "room" / f"{name}.py").write_text(text)
    assert circles_in(imports_of(tmp_path, "room")) == {frozenset({"room.first", "room.second", "room.third"})}
