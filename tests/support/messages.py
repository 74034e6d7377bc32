"""Random valid messages of the protocol, made from the declared types themselves."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st
from msgspec import inspect

from aioqueue.protocol.messages import BrokerMessage, ClientMessage

# Long enough for every path of the codec; the limits have tests of their own.
ITEMS_MAX = 3
BYTES_MAX = 300


def a_value_of(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Values that the declared type allows."""
    match kind:
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=least):
            # What msgpack can say.
            return st.integers(-(2**63) if least is None else least, 2**64 - 1 if kind.le is None else kind.le)
        case inspect.FloatType():
            return st.floats(allow_nan=False)
        case inspect.StrType(max_length=longest):
            return st.text(max_size=min(BYTES_MAX, longest or BYTES_MAX))
        case inspect.BytesType(min_length=shortest, max_length=longest):
            return st.binary(min_size=shortest or 0, max_size=min(BYTES_MAX, longest or BYTES_MAX))
        case inspect.NoneType():
            return st.none()
        case inspect.EnumType(cls=cls):
            return st.sampled_from(list(cls))
        case inspect.ListType(item_type=item):
            return st.lists(a_value_of(item), max_size=ITEMS_MAX)
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(a_value_of(key), a_value_of(value), max_size=ITEMS_MAX)
        case inspect.UnionType(types=types):
            return st.one_of([a_value_of(each) for each in types])
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, *[a_value_of(field.type) for field in fields])
    raise AssertionError(f"no values are known for {kind}")


def messages_of(union: Any) -> st.SearchStrategy[Any]:
    return st.one_of([a_value_of(inspect.type_info(kind)) for kind in get_args(union)])


client_messages = messages_of(ClientMessage)
broker_messages = messages_of(BrokerMessage)


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes in pieces, as a network may give them."""
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=20)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


def types_within(kind: inspect.Type) -> list[inspect.Type]:
    """A type and all that it is made of."""
    inner: list[inspect.Type] = []
    match kind:
        case inspect.ListType(item_type=item):
            inner = [item]
        case inspect.DictType(key_type=key, value_type=value):
            inner = [key, value]
        case inspect.UnionType(types=types):
            inner = list(types)
        case inspect.StructType(fields=fields):
            inner = [field.type for field in fields]
    return [kind, *[found for each in inner for found in types_within(each)]]
