"""The shape of the code: modules and functions that can be read in one go, and a sentence at the top of each."""

from __future__ import annotations

import ast
from pathlib import Path
from statistics import median

import pytest

PACKAGE = Path(__file__).parents[1] / "aioqueue"
MODULES = sorted(PACKAGE.rglob("*.py"))
# A module that is nearly full has a noun that wants a room of its own.
MODULE_LINES_MAX = 450
MODULE_LINES_MEDIAN_MAX = 110
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


def test_half_of_the_modules_are_read_in_two_minutes() -> None:
    assert median(len(module.read_text().splitlines()) for module in MODULES) < MODULE_LINES_MEDIAN_MAX


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_function_fits_a_screen(module: Path) -> None:
    functions = (node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, FUNCTIONS))
    long = [f.name for f in functions if f.end_lineno and f.end_lineno - f.lineno + 1 > FUNCTION_LINES_MAX]
    assert long == []


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
