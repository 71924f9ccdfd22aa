"""Messages of logical replication are read as they are sent, and snapshots as PostgreSQL reads them."""

from __future__ import annotations

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkit.postgres.pgoutput import Decoder, Delete, Insert, Truncate, Unchanged, Update
from tenantkit.postgres.replication import Snapshot

pytestmark = pytest.mark.each_value


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def row(*values: str | type[Unchanged] | None) -> bytes:
    parts = [pack(">h", len(values))]
    for each in values:
        match each:
            case None:
                parts.append(b"n")
            case str():
                parts.append(b"t" + pack(">i", len(each.encode())) + each.encode())
            case _:
                parts.append(b"u")
    return b"".join(parts)


NUMBER = pack(">I", 77)
RELATION = (
    b"R" + NUMBER + text("t_acme") + text("Nöte") + b"d" + pack(">h", 3)
    + b"".join(pack(">?", is_key) + text(name) + pack(">Ii", 25, -1) for name, is_key in (("id", True), ("ä b", False), ("c", False)))
)  # fmt: skip


@pytest.fixture
def decoder() -> Decoder:
    decoder = Decoder()
    for nothing in (
        b"B" + bytes(20),
        b"O" + bytes(8) + text("origin"),
        b"Y" + bytes(4) + text("t") + text("n"),
        RELATION,
    ):
        assert decoder.decode(nothing) is None
    return decoder


def test_changes_are_read(decoder: Decoder) -> None:
    inserted = decoder.decode(b"I" + NUMBER + b"N" + row("1", None, "€"))
    assert isinstance(inserted, Insert)
    assert (inserted.relation.schema, inserted.relation.name) == ("t_acme", "Nöte")
    assert (inserted.relation.columns, inserted.relation.key) == (("id", "ä b", "c"), ("id",))
    assert inserted.new == {"id": "1", "ä b": None, "c": "€"}
    updated = decoder.decode(b"U" + NUMBER + b"N" + row("1", "", Unchanged))
    assert isinstance(updated, Update)
    assert (updated.key, updated.new["ä b"]) == ({"id": "1"}, "")
    assert isinstance(updated.new["c"], Unchanged)
    moved = decoder.decode(b"U" + NUMBER + b"K" + row("1", None, None) + b"N" + row("2", "x", "y"))
    assert isinstance(moved, Update)
    assert (moved.key, moved.new["id"]) == ({"id": "1"}, "2")
    deleted = decoder.decode(b"D" + NUMBER + b"K" + row("2", None, None))
    assert deleted == Delete(inserted.relation, {"id": "2"})
    assert decoder.decode(b"T" + pack(">i", 1) + b"\0" + NUMBER) == Truncate((inserted.relation,))
    assert decoder.decode(b"C" + bytes(25)) is None


def test_a_message_that_is_cut_anywhere_is_refused(decoder: Decoder) -> None:
    for whole in (
        b"I" + NUMBER + b"N" + row("1", None, "€"),
        b"U" + NUMBER + b"K" + row("1", None, None) + b"N" + row("2", "x", "y"),
        b"D" + NUMBER + b"K" + row("2", None, None),
        b"T" + pack(">i", 1) + b"\0" + NUMBER,
    ):
        decoder.decode(whole)
        for length in range(len(whole)):
            with pytest.raises(ValueError, match="pgoutput has sent"):
                decoder.decode(whole[:length])


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"M" + bytes(20),
        b"I" + NUMBER + b"N" + row("1"),
        b"I" + NUMBER + b"N" + row("1", "2", "3").replace(b"t", b"b"),
    ],
)
def test_another_message_is_refused(decoder: Decoder, message: bytes) -> None:
    with pytest.raises(ValueError, match="pgoutput has sent"):
        decoder.decode(message)


@given(
    st.integers(0, 2**34),
    st.lists(st.tuples(st.integers(1, 2**31 - 2), st.booleans()), max_size=6, unique_by=lambda each: each[0]),
    st.integers(-(2**31) + 1, 2**31 - 2),
)
def test_a_snapshot_sees_what_had_ended(start: int, taken: list[tuple[int, bool]], distance: int) -> None:
    """Transactions have 64 bits; their numbers in the log have the lower 32."""
    end = 2**31 + start + 2**31
    running = {end - back for back, is_running in taken if is_running}
    first = min(running, default=end)
    snapshot = Snapshot.load(f"{first}:{end}:{','.join(map(str, sorted(running)))}")
    number = end + distance
    assert snapshot.sees(number % 2**32) == (number < end and number not in running)
