"""A file that is not exactly what was written is refused, and says nothing about its rows."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tarfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from tenantkit import BackupError, ConfigurationError, Tenancy, TenantNotFoundError, transfer
from tenantkit.transfer import catalog
from tenantkit.transfer import compression as zstd
from tenantkit.transfer.file import BackupWriter, reading, writing
from tenantkit.transfer.manifest import Column, Contents, Manifest, SequenceState, Table

pytestmark = pytest.mark.each_value

SECRET = "the secret of a row"
TABLES = (
    Table("note", (Column("id", "integer"), Column("text", "text"))),
    Table("Wéird/../name", (), "note", "DEFAULT"),
)
BLOCKS = [[f"1\t{SECRET}\n2\t\\N\n".encode(), b"3\tx\n"], [b"\n" * 700]]


def make(path: Path, compression: zstd.Compression) -> bytes:
    manifest = Manifest(
        created_at="2026-03-01T12:00:00+00:00",
        tenantkit="1",
        postgres="15",
        tenant={"key": "acme", "name": "Acme", "isolation": "schema", "database": "main", "domains": [], "attributes": {}, "row_value": None},
        heads=None,
        tables=TABLES,
    )  # fmt: skip
    with writing(path, compression) as stream:
        writer = BackupWriter(stream, manifest)
        for table, blocks in zip(TABLES, BLOCKS, strict=True):
            writer.add(table, blocks)
        writer.end(Contents(sequences=(SequenceState("s", 5, True),), filled_views=(), references=()))
    return path.read_bytes()


@pytest.fixture(params=["zstd", "none"])
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    return make(tmp_path / "whole.tenant", request.param)


def refuse(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(BackupError) as caught:
        transfer.verify(path)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_whole_file_has_its_rows(whole: bytes, tmp_path: Path) -> None:
    with reading(tmp_path / "whole.tenant") as file:
        read = [(table, b"".join(pieces)) for table, pieces in file.tables()]
    assert read == [(table, b"".join(blocks)) for table, blocks in zip(TABLES, BLOCKS, strict=True)]


def test_each_shorter_file_is_refused(whole: bytes, tmp_path: Path, dose: Callable[[int, int], int]) -> None:
    for length in range(0, len(whole), dose(37, 1)):
        refuse(tmp_path / "a.tenant", whole[:length])
    refuse(tmp_path / "a.tenant", whole[:-1])


def test_each_changed_byte_is_found(whole: bytes, tmp_path: Path, dose: Callable[[int, int], int]) -> None:
    path = tmp_path / "a.tenant"
    unchanged = transfer.verify(tmp_path / "whole.tenant")
    missed = 0
    for position in range(0, len(whole), dose(41, 1)):
        for bit in (1, 128) if dose(0, 1) else (1,):
            changed = bytearray(whole)
            changed[position] ^= bit
            path.write_bytes(changed)
            with suppress(BackupError):
                found = transfer.verify(path)
                missed += 1
                assert replace(found, path=unchanged.path) == unchanged
    # Some bytes of zstd do not matter for what is decompressed.
    assert missed < len(whole) / 20 if whole.startswith(zstd.MAGIC) else missed == 0


def test_a_longer_file_is_refused(whole: bytes, tmp_path: Path) -> None:
    for more in (b"x", b"\0" * 512, whole):
        refuse(tmp_path / "a.tenant", whole + more)


@pytest.mark.parametrize("name", ["empty", "text", "archive", "zeros", "folder", "absent"])
def test_a_foreign_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    match name:
        case "archive":
            with tarfile.open(path, "w") as archive:
                archive.add(__file__, "manifest.json")
        case "folder":
            path.mkdir()
        case "absent":
            pass
        case _:
            path.write_bytes({"empty": b"", "text": b"CREATE TABLE x ();\n" * 100, "zeros": b"\0" * 5000}[name])
    with pytest.raises(BackupError):
        transfer.verify(path)


def test_members_in_another_order_are_refused(tmp_path: Path) -> None:
    data = make(tmp_path / "a.tenant", "none")
    first, second = (data.index(f"00000{number}.copy".encode()) // 512 * 512 for number in (1, 2))
    size = 1024
    moved = data[:first] + data[second : second + size] + data[first:second] + data[second + size :]
    refuse(tmp_path / "b.tenant", moved)


def test_a_file_of_a_newer_format_asks_for_a_newer_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenantkit.transfer.manifest.VERSION", 2)
    data = make(tmp_path / "a.tenant", "none")
    monkeypatch.undo()
    assert "its format has version 2, and this tenantkit reads 1" in refuse(tmp_path / "b.tenant", data)


def test_tar_and_zstd_show_the_rows(tmp_path: Path) -> None:
    make(tmp_path / "a.tenant", "none")
    subprocess.run(["tar", "-xf", "a.tenant"], cwd=tmp_path, check=True)
    assert (tmp_path / "rows" / "0001.note" / "000002.copy").read_text() == "3\tx\n"
    assert sorted(each.name for each in (tmp_path / "rows").iterdir()) == ["0001.note", "0002.w_ird____name"]


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_an_error_leaves_no_file(tmp_path: Path, compression: Any) -> None:
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "a.tenant", compression) as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_a_disk_that_is_full_leaves_no_file(tmp_path: Path, compression: Any) -> None:
    def fill() -> None:
        with writing(tmp_path / "a.tenant", compression) as stream:
            for _ in range(10_000):
                stream.write(os.urandom(1000))

    with limited(200_000), pytest.raises(BackupError, match="it cannot be written: (No space|File too large)"):
        fill()
    assert list(tmp_path.iterdir()) == []


@contextmanager
def limited(size: int) -> Generator[None]:
    """Limit the sizes of files, as a full disk does."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_without_the_library_files_are_not_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "a.tenant", "zstd")
    monkeypatch.setattr(zstd, "_find", lambda: None)
    assert zstd.choose(None) == "none"
    for work in (lambda: zstd.choose("zstd"), lambda: transfer.verify(tmp_path / "a.tenant")):
        with pytest.raises(ConfigurationError, match=r"pip install 'tenantkit\[backup\]'"):
            work()


def test_a_damaged_file_changes_nothing(tenancy: Tenancy, tmp_path: Path) -> None:
    tenancy.create("acme")
    file = tmp_path / "a.tenant"
    transfer.backup(tenancy, "acme", file, compression="none")
    data = bytearray(file.read_bytes())
    data[data.index(b"contents.json") + 600] ^= 1
    file.write_bytes(data)
    with pytest.raises(BackupError, match="Nothing was changed"):
        transfer.restore(tenancy, file, key="beta")
    with pytest.raises(TenantNotFoundError):
        tenancy.get("beta")


def test_a_file_that_changes_while_it_is_restored_is_not_restored(
    tenancy: Tenancy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fill: Callable[..., None]
) -> None:
    tenancy.create("acme")
    fill(tenancy, "acme", *(f"{number}{'x' * 5_000}" for number in range(40)), "one")
    file = tmp_path / "a.tenant"
    transfer.backup(tenancy, "acme", file, compression="none")

    def change(*_: object) -> None:
        data = file.read_bytes().replace(b"of one", b"of 1ne")
        file.write_bytes(data)

    with pytest.raises(Exception, match="loading the rows failed"):
        transfer.restore(tenancy, file, key="beta", progress=change)
    assert tenancy.get("beta").status == "failed"


@pytest.mark.parametrize("value", ["1, true); DROP TABLE kept; SELECT (1", "1", 2**63, 1.5])
def test_the_state_of_a_sequence_is_a_value_whatever_a_file_says(engine: Engine, value: Any) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE s; CREATE TABLE kept ()")
        connection.commit()
        with suppress(DBAPIError):
            catalog.set_sequences(connection, "public", [SequenceState("s", value, is_called=True)])
            connection.commit()
        connection.rollback()
        assert connection.exec_driver_sql("SELECT to_regclass('kept') IS NOT NULL").scalar_one()
        assert connection.exec_driver_sql("SELECT last_value FROM s").scalar_one() in {1, 2}
