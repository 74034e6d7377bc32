"""No module can reach itself by its imports, those for type checkers and those inside functions included.

Contracts of import-linter say which rooms may know which; this says the same of the files inside each room.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "aioqueue"


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in PACKAGE.rglob("*.py")}


def imports_of(text: str, known: set[str]) -> set[str]:
    """The modules among those that are known that a module of this text imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
        elif isinstance(node, ast.ImportFrom):
            # Relative imports are banned by ruff.
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found |= {inner if inner in known else str(node.module)} & known
    return found


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """The modules of a circle, in their order; nothing where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_reaches_itself_by_its_imports() -> None:
    graph = {name: imports_of(file.read_text(), set(MODULES)) - {name} for name, file in MODULES.items()}
    assert circle_in(graph) == []


def test_a_circle_is_named_from_end_to_end() -> None:
    assert sorted({*circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})}) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text",
    [
        "import a.b",
        "from a import b",
        "from a.b import c",
        "def f():\n    from a.b import c",
        "if TYPE_CHECKING:\n    from a.b import c",
    ],
)
def test_an_import_is_seen_wherever_it_stands(text: str) -> None:
    assert imports_of(text, {"a", "a.b"}) == {"a.b"}
