"""The page for those who write a client in another language says what the code does."""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import EnumMeta
from pathlib import Path
from typing import Any, get_args

import pytest
from msgspec import inspect

from aioqueue import errors, limits
from aioqueue.model.ids import own_id, route_of
from aioqueue.model.registry import TaskDescription
from aioqueue.model.spec import Spec
from aioqueue.model.states import JobState
from aioqueue.protocol.codec import BROKER_KINDS, CLIENT_KINDS, Codec
from aioqueue.protocol.conversation import BROKER_SAYS, CLIENT_SAYS, State
from aioqueue.protocol.messages import RESERVED_KINDS, Capability, Closing, Message, Ping, Pong, Refusal, SubmitFlag
from tests.support.examples import DIALOGUE, SPEC
from tests.support.reference import rows_of, sections_of, structs_within, table_of

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "protocol.md").read_text(encoding="utf-8")
SECTIONS = sections_of(PAGE)

STRUCTS: dict[str, type[Any]] = {}
ENUMS: dict[str, EnumMeta] = {"Capability": Capability, "SubmitFlag": SubmitFlag}
for kind in (*get_args(Message), Spec, TaskDescription):
    structs_within(inspect.type_info(kind), STRUCTS, ENUMS)


def bytes_in(block: str) -> bytes:
    """The bytes of a hex block, its comments left out."""
    return bytes.fromhex(re.sub(r"#.*", "", block))


def spans_text(numbers: Collection[int]) -> str:
    """Numbers as a page writes them: `60 to 63, 69 and 72 to 120`."""
    firsts = sorted(number for number in numbers if number - 1 not in numbers)
    lasts = sorted(number for number in numbers if number + 1 not in numbers)
    spans = [f"{first}" if first == last else f"{first} to {last}" for first, last in zip(firsts, lasts, strict=True)]
    return " and ".join((", ".join(spans[:-1]), spans[-1]))


@pytest.mark.parametrize("name", STRUCTS)
def test_no_field_of_a_record_differs_from_its_table(name: str) -> None:
    assert [row[:4] for row in table_of(SECTIONS[name])] == rows_of(STRUCTS[name])
    assert all(row[4] for row in table_of(SECTIONS[name]))


@pytest.mark.parametrize("name", ENUMS)
def test_no_number_of_an_enum_differs_from_its_table(name: str) -> None:
    members: Any = ENUMS[name]
    assert [row[:2] for row in table_of(SECTIONS[name])] == [(str(int(each)), each.name) for each in members]


def test_no_job_state_differs_from_its_table() -> None:
    (section,) = re.findall(r"^### Job states\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    assert table_of(section) == [(str(int(state)), state.label) for state in JobState]


def test_no_kind_is_listed_with_another_number_or_speaker() -> None:
    said_by = {(True, True): "either", (True, False): "client", (False, True): "broker"}
    listed = re.findall(r"^\| (\d+) \| \[(\w+)\]\(#([a-z0-9-]+)\) \| (\w+) \|$", PAGE, re.MULTILINE)
    assert [(int(tag), name, speaker) for tag, name, _, speaker in listed] == sorted(
        (tag, kind.__name__, said_by[tag in CLIENT_KINDS, tag in BROKER_KINDS])
        for kind in get_args(Message)
        for tag in [kind.__struct_config__.tag]
    )
    headings = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert {anchor for _, _, anchor, _ in listed} <= anchors


def test_no_example_of_the_dialogue_differs_from_what_is_sent() -> None:
    shown = re.findall(r"<!-- dialogue: ([\w-]+) -->\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert [name for name, _ in shown] == list(DIALOGUE)
    for name, block in shown:
        assert bytes_in(block) == Codec().encode(DIALOGUE[name]), name


def test_the_example_of_a_spec_is_the_one_of_the_dialogue() -> None:
    (block,) = re.findall(r"<!-- spec -->\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert bytes_in(block) == SPEC


def test_the_examples_of_job_ids_are_those_that_are_made() -> None:
    (row,) = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `0x(\w+)` \| `(\w+)` \|$", PAGE, re.MULTILINE)
    namespace, queue, route, text = row
    assert route_of(namespace, queue) == int(route, 16)
    assert own_id(namespace, queue, "invoice-42").hex() == text


def test_every_error_code_of_the_page_is_one_that_is_raised() -> None:
    codes = re.findall(
        r"`(\w+)`", "\n".join(re.findall(r"^\| (`\w+`.*?) \|", PAGE.split("## Error codes")[1], re.MULTILINE))
    )
    assert len(codes) > 20
    assert {code for code in codes if errors.from_wire(code, "", {}).code != code} == set()


def test_the_states_of_the_page_are_those_of_the_tables() -> None:
    always = {Ping, Pong, Refusal, Closing}

    def said(rows: dict[type, Any]) -> set[str]:
        return {kind.__name__ for kind in rows if kind not in always}

    (section,) = re.findall(r"^## Who may say what, when\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    names = {
        "before Hello": State.EXPECT_HELLO,
        "Hello said": State.HELLO_CLIENT,
        "client": State.CLIENT,
        "worker, `fresh`": State.WORKER_FRESH,
        "worker, not `fresh`": State.WORKER_RESUMING,
        "worker": State.WORKER,
        "heartbeat": State.HEARTBEAT,
    }
    rows = {row[0]: row[1:] for row in table_of(section)}
    for name, state in names.items():
        client, broker = (set(re.findall(r"[A-Z]\w+", cell)) for cell in rows[name])
        assert client == said(dict(CLIENT_SAYS[state])), name
        assert broker == said(dict(BROKER_SAYS[state])), name


@pytest.mark.parametrize(
    "words",
    [
        f"at most {limits.FRAME_BYTES_MAX:,} bytes (4 MiB)",
        f"at most {limits.STRANGER_FRAME_BYTES_MAX:,} bytes in both",
        f"more than {limits.OUTBOX_BYTES_MAX // limits.MIB} MiB wait",
        f"at about {limits.FRAME_BYTES_TARGET // limits.KIB} KiB",
        f"no Hello comes within {limits.HANDSHAKE_MS // 1000} s",
        f"every `session_ttl_ms / {limits.HEARTBEATS_A_TTL}`",
        f"over {limits.ATOMIC_JOBS_MAX:,} jobs or {limits.ATOMIC_BYTES_MAX // limits.MIB} MiB",
        f"gives 1 to {limits.PAGE_JOBS_MAX}",
        f"Kinds {spans_text(RESERVED_KINDS)} are reserved",
    ],
)
def test_no_limit_of_the_page_differs_from_the_one_that_holds(words: str) -> None:
    assert words in " ".join(PAGE.split())
