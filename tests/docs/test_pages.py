"""The documents are complete and lead somewhere: public names, errors, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import aioqueue
from aioqueue import AioqueueError, Context, Job, JobInfo, Queue, Retry, Task, Worker, errors
from tests.docs.conftest import PAGES, blocks, name_of, prose
from tests.support.commands import ROOT

API = ROOT / "docs" / "reference" / "python-api.md"
ERRORS = ROOT / "docs" / "guides" / "errors.md"
KINDS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, AioqueueError)
}
NAMES = [name for name in aioqueue.__all__ if name not in KINDS]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def section(page: Path, title: str) -> str:
    parts = re.split(r"^## (.*)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True)).get(title, "")


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_a_section_with_an_example_that_uses_it(name: str) -> None:
    text = section(API, f"`{name}`")
    assert re.search(rf"^```python\n(?s:.)*\b{name}\b(?s:.)*^```$", text, re.MULTILINE), text


@pytest.mark.parametrize("kind", [Queue, Task, Job, JobInfo, Context, Retry, Worker], ids=lambda kind: kind.__name__)
def test_every_public_attribute_is_told(kind: type) -> None:
    text = section(API, f"`{kind.__name__}`")
    assert [name for name in dir(kind) if not name.startswith("_") and not re.search(rf"\b{name}\b", text)] == []


def error_rows() -> dict[str, tuple[str, str, str]]:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+?) \| (.+?) \|$", ERRORS.read_text(), re.MULTILINE)
    return {name: (code, cause, way_out) for code, name, cause, way_out in rows}


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"AioqueueError"}))
def test_an_error_is_listed_by_its_code_with_cause_and_way_out(name: str) -> None:
    code, cause, way_out = error_rows()[name]
    assert code == KINDS[name].code
    assert cause.strip()
    assert way_out.strip()


def test_no_error_is_listed_that_there_is_not() -> None:
    assert set(error_rows()) <= set(KINDS)
    assert set(KINDS) <= set(aioqueue.__all__)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert heading in [re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles], link


def linked_from(page: Path) -> set[Path]:
    return {(page.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(page.read_text())}


def test_every_page_is_reached_from_the_index() -> None:
    index, decisions = ROOT / "docs" / "index.md", ROOT / "docs" / "adr" / "README.md"
    assert set((ROOT / "docs").rglob("*.md")) - linked_from(index) - linked_from(decisions) == {index}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_nobody_is_told_to_install_somebody_elses_package(page: Path) -> None:
    text = "\n".join(block.text for language in ("sh", "ini", "text") for block in blocks(page, language))
    installed = [word for match in re.findall(r"\binstall\b([^&|\n]*)", text) for word in match.split()]
    assert not [word for word in installed if re.split(r"[\[=<>~]", word.strip("'\""))[0] == "aioqueue"]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_no_page_names_a_test_that_there_is_not(page: Path) -> None:
    for path, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{test}"


def test_the_workers_in_screens_and_logs_are_on_hosts_that_nobody_has() -> None:
    # As `top`, `show` and logs call a worker: its host, process and place.
    found = {
        (name_of(page), host)
        for page in [*PAGES, *(ROOT / "docs").rglob("*.svg")]
        for host in re.findall(r"\b([A-Za-z][\w.-]*):\d{2,7}/\d+\b", page.read_text())
    }
    assert ("README.md", "web-1") in found
    assert {host for _, host in found} <= {"web-1", "web-2"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_shows_no_folder_of_the_machine_it_was_written_on(page: Path) -> None:
    assert not re.findall(r"(?<![\w.])/(?:root|home|Users|work|tmp)/\w[\w./-]*", page.read_text())
