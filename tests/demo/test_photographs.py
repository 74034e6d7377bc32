"""Finding the demo's photographs, and saying what to install where there are none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from PIL import Image

from aioqueue.demo import photographs as module
from aioqueue.demo.photographs import photographs
from aioqueue.demo.run import WIDTHS
from aioqueue.errors import ExtraMissing
from tests.support.commands import ROOT, environment


def test_there_are_at_least_ten_and_each_is_a_picture_that_gets_smaller() -> None:
    found = photographs()
    assert len(found) >= 10
    for path in found:
        with Image.open(path) as image:
            assert image.width > max(WIDTHS)


@pytest.mark.parametrize("missing", ["PIL", "skimage"])
def test_a_missing_package_is_one_sentence_that_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = module.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == missing else find(name))
    with pytest.raises(ExtraMissing, match=r"pip install '\.\[demo\]'") as refused:
        photographs()
    assert refused.value.extra == "demo"


def test_scikit_image_is_looked_into_and_not_imported() -> None:
    code = (
        "import sys; from aioqueue.demo.photographs import photographs; photographs(); print('skimage' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT, env=environment()
    )
    assert ended.stdout.strip() == "False"
