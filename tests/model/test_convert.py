"""What msgpack does not know, as plain data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pydantic
import pytest

from aioqueue.model.bodies import pack_body, unpack_body
from aioqueue.model.convert import from_plain, to_plain


class Model(pydantic.BaseModel):
    name: str = pydantic.Field(alias="Name")


def test_without_an_annotation_a_value_stays_plain() -> None:
    assert unpack_body(pack_body([Path("a/b"), Model(Name="ada")])) == ["a/b", {"Name": "ada"}]


@pytest.mark.parametrize("value", [Path("a"), PurePosixPath("/b"), Model(Name="ada")])
def test_what_was_made_plain_is_made_again(value: Any) -> None:
    assert from_plain(type(value), to_plain(value)) == value


@pytest.mark.parametrize("value", [object(), 1j, int])
def test_what_is_not_data_is_refused_by_its_type(value: Any) -> None:
    with pytest.raises(TypeError, match=type(value).__qualname__):
        to_plain(value)


@pytest.mark.parametrize(("kind", "value"), [(Path, 5), (Model, {"name": "ada"}), (Model, 5), (complex, [1, 2])])
def test_what_does_not_fit_its_type_is_refused(kind: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        from_plain(kind, value)


def test_a_program_without_models_does_not_import_pydantic() -> None:
    program = (
        "import sys; from pathlib import Path; from aioqueue.model.bodies import pack_body; "
        "pack_body(Path('a')); sys.exit('pydantic' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0
