"""A small project of an application's developer, and its command line."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from codecs import getincrementaldecoder
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from unittest.mock import patch

import pytest

from tenantkit.cli import main
from tenantkit.migrations import init
from tests.support import commands
from tests.support.commands import SCRIPT
from tests.support.processes import unmeasured, until

PYPROJECT = """
[tool.tenantkit]
app = "shop.app:make_tenancy"
"""

GREETING = "the shop opens\n"

APPLICATION = """
import os
from types import SimpleNamespace

from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tenantkit import Tenancy
from tenantkit.asyncio import AsyncTenancy

print("the shop opens")

class SharedBase(DeclarativeBase):
    metadata = MetaData(schema="shared")

class TenantBase(DeclarativeBase):
    metadata = MetaData(schema="tenant")

class Country(SharedBase):
    __tablename__ = "countries"
    code: Mapped[str] = mapped_column(primary_key=True)

class Invoice(TenantBase):
    __tablename__ = "invoices"
    id: Mapped[int] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(ForeignKey(Country.code))
    note: Mapped[str | None]

OPTIONS = {"shared": SharedBase.metadata, "tenant": TenantBase.metadata, "migrations": "migrations"}

def make_tenancy():
    return Tenancy(os.environ["DATABASE_URL"], **OPTIONS)

tenancy = make_tenancy()
group = SimpleNamespace(tenancy=AsyncTenancy(os.environ["DATABASE_URL"], **OPTIONS))
"""

REVISION = """
from alembic import op
import sqlalchemy as sa

revision = {revision!r}
down_revision = {down_revision!r}

def upgrade():
    {upgrade}

def downgrade():
    {downgrade}
"""

INVOICES = """op.create_table(
        "invoices",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("country", sa.String, sa.ForeignKey("shared.countries.code"), nullable=False),
        schema="tenant",
    )"""


@dataclass(frozen=True)
class Result:
    """The result of a command."""

    code: int
    out: str
    err: str
    """Standard error, without the application's own output."""

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class _Keyboard(io.StringIO):
    """The input of a user at a terminal."""

    def isatty(self) -> bool:
        return True


def invoke(*arguments: str, typed: str | None = None) -> Result:
    """Run a command in this process, without a terminal, or at a terminal with the input *typed*."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["tenantkit", *arguments]),
        patch.object(sys, "stdin", sys.stdin if typed is None else _Keyboard(f"{typed}\n")),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as exited,
    ):
        main()
    return Result(int(exited.value.code or 0), out.getvalue(), err.getvalue().removeprefix(GREETING))


class Project:
    """A folder with an application, its migrations and its ``pyproject.toml``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("pyproject.toml", PYPROJECT)
        self.write("shop/__init__.py", "")
        self.write("shop/app.py", APPLICATION)
        init(folder / "migrations")
        self.add_revision(
            "s1", None, 'op.create_table("countries", sa.Column("code", sa.String, primary_key=True))', "shared"
        )
        self.add_revision("t1", None, INVOICES)
        self.add_revision("t2", "t1", 'op.add_column("invoices", sa.Column("note", sa.String), schema="tenant")')

    def write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def add_revision(self, revision: str, down_revision: str | None, upgrade: str, line: str = "tenant") -> Path:
        undo = 'op.drop_column("invoices", "note", schema="tenant")' if revision == "t2" else "pass"
        undo = 'op.drop_table("invoices", schema="tenant")' if revision == "t1" else undo
        text = REVISION.format(revision=revision, down_revision=down_revision, upgrade=upgrade, downgrade=undo)
        return self.write(f"migrations/{line}/{revision}.py", text)

    def edit_app(self, old: str, new: str) -> None:
        """Replace a text in the application, which the next command imports again."""
        app = self.folder / "shop" / "app.py"
        text = app.read_text()
        assert old in text
        app.write_text(text.replace(old, new))
        self.forget_modules()

    def forget_modules(self) -> None:
        """Remove the modules of this folder from `sys.modules`."""
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(f"{self.folder}/"):
                del sys.modules[name]

    def invoke(self, *arguments: str, typed: str | None = None) -> Result:
        """Run a command in this process; see the function."""
        return invoke(*arguments, typed=typed)

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Result:
        """Run the console script in a process of its own, with the variables of *environment* besides."""
        done = commands.run(*arguments, cwd=self.folder, environment={**os.environ, **(environment or {})})
        return Result(done.returncode, done.stdout, done.stderr.removeprefix(GREETING))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the console script; the test reads its output."""
        pipe = subprocess.PIPE
        return subprocess.Popen([SCRIPT, *arguments], cwd=self.folder, stdout=pipe, stderr=pipe, text=True)

    def at_terminal(self, *arguments: str, is_measured: bool = True, **environment: str) -> Terminal:
        """Run the console script at a terminal, with stdout as a pipe.

        A process that is interrupted must not measure coverage.
        """
        terminal = {"TERM": "xterm-256color", "COLUMNS": "100", **environment}
        return Terminal(self.folder, arguments, {**(os.environ if is_measured else unmeasured()), **terminal})


class Terminal:
    """The console script at a terminal: stdin and stderr are a terminal, stdout is a file."""

    def __init__(self, folder: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self._out = os.memfd_create("stdout")
        self.process = commands.start(
            [str(SCRIPT), *arguments], cwd=folder, environment=environment, streams=(theirs, self._out, theirs)
        )
        os.close(theirs)
        self.seen = ""
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, words: str) -> None:
        """Wait until *words* appear."""
        until(lambda: words in self._plain() or not self._reader.is_alive(), seconds=60)
        assert words in self._plain(), f"{words!r} did not come, but {self._plain()!r}"

    def type(self, words: str) -> None:
        """Type a line."""
        os.write(self._ours, f"{words}\n".encode())

    def interrupt(self) -> None:
        """Press Ctrl-C, which also interrupts the child processes."""
        os.killpg(self.process.pid, signal.SIGINT)

    def interrupt_question(self) -> None:
        """Press Ctrl-C, and again if nothing happens: Python handles a signal after the read that it came just before."""
        self.interrupt()
        self._reader.join(5)
        if self._reader.is_alive():
            self.interrupt()

    def result(self) -> Result:
        """Wait for the end."""
        self._reader.join(120)
        if self._reader.is_alive():
            os.killpg(self.process.pid, signal.SIGKILL)
            pytest.fail(f"it did not end after {self._plain()!r}")
        os.close(self._ours)
        code = self.process.wait(60)
        os.lseek(self._out, 0, os.SEEK_SET)
        with os.fdopen(self._out) as out:
            return Result(code, out.read(), self._plain())

    def _read(self) -> None:
        """Read output at once, as a terminal does: a full terminal would block the writer."""
        decoder = getincrementaldecoder("utf-8")()
        with suppress(OSError):  # on Linux, the other side is closed
            while got := os.read(self._ours, 10_000):
                self.seen += decoder.decode(got)

    def _plain(self) -> str:
        """Return the output, without colours and movements of the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.seen).replace("\r\n", "\n")
