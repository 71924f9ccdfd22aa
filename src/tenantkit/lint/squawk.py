"""The dangers of PostgreSQL itself, found by squawk (the package ``squawk-cli``)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tenantkit.exceptions import ConfigurationError
from tenantkit.exceptions.base import as_clause
from tenantkit.lint.rules import Problem

if TYPE_CHECKING:
    from tenantkit.lint.rendering.render import Step
    from tenantkit.lint.revision import Revision

_BY_TENANTKIT = {"require-lock-timeout", "require-statement-timeout", "require-timeout-settings"}
"""Rules that do not apply, because every migration has a lock_timeout."""
_OURS = {"ban-concurrent-index-creation-in-transaction", "identifier-too-long", "transaction-nesting"}
"""Rules whose findings TK004 and TK005 have."""
_STYLE = {
    "ban-char-field",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-text-field",
    "prefer-timestamp-tz",
}
"""Rules about types, which the models decide; no danger for running code."""
OFF = frozenset(_BY_TENANTKIT | _OURS | _STYLE)
"""Rules that are off unless they are enabled."""

_KNOWN = frozenset(
    """
    adding-field-with-default adding-foreign-key-constraint adding-not-nullable-field adding-required-field
    adding-serial-primary-key-field ban-add-column ban-add-composite-attribute ban-add-enum-value ban-alter-
    database-options ban-alter-domain-with-add-constraint ban-alter-extension ban-alter-function-options ban-
    alter-generated-expression ban-alter-identity ban-alter-policy-condition ban-alter-policy-roles ban-alter-
    role-options ban-alter-row-level-security ban-alter-sequence-values ban-alter-system-options ban-alter-view-
    options ban-char-field ban-concurrent-index-creation-in-transaction ban-create-domain-with-constraint ban-
    create-policy ban-detach-inheritance ban-disable-trigger ban-drop-column ban-drop-constraint ban-drop-database
    ban-drop-domain ban-drop-extension ban-drop-function ban-drop-generated-expression ban-drop-index ban-drop-
    not-null ban-drop-policy ban-drop-schema ban-drop-sequence ban-drop-table ban-drop-type ban-drop-view ban-new-
    write-restriction ban-replace-view-function ban-replica-identity ban-revoke ban-set-default ban-set-schema
    ban-truncate-cascade ban-uncommitted-transaction changing-column-type constraint-missing-not-valid disallowed-
    unique-constraint identifier-too-long prefer-bigint-over-int prefer-bigint-over-smallint prefer-identity
    prefer-repack prefer-robust-stmts prefer-text-field prefer-timestamp-tz renaming-column renaming-object
    renaming-table require-concurrent-index-creation require-concurrent-index-deletion require-concurrent-
    partition-detach require-concurrent-reindex require-enum-value-ordering require-lock-timeout require-
    statement-timeout require-table-schema require-timeout-settings syntax-error transaction-nesting unused-ignore
    """.split()  # noqa: SIM905 - as a list it would take a page
)
"""The rules of squawk 2.70. A newer version may have more."""

_UNREAD = "syntax-error"

SAME = {
    _UNREAD: "TK000",
    **dict.fromkeys(
        (
            "adding-field-with-default",
            "adding-foreign-key-constraint",
            "adding-not-nullable-field",
            "adding-serial-primary-key-field",
            "ban-alter-domain-with-add-constraint",
            "changing-column-type",
            "constraint-missing-not-valid",
            "disallowed-unique-constraint",
            "require-concurrent-index-creation",
            "require-concurrent-reindex",
        ),
        "TK009",
    ),
}
"""Rules of squawk, each with tenantkit's rule for the same problem. A problem that squawk finds is reported once."""

CONTRACTING = ("ban-drop-", "renaming-")
"""Beginnings of the names of rules whose findings are the purpose of a revision with the phase ``contract``."""


def find() -> str | None:
    """Return squawk's program, if it is installed."""
    return shutil.which("squawk", path=sysconfig.get_path("scripts")) or shutil.which("squawk")


def has_rule(program: str | None, name: str) -> bool:
    """Return whether squawk has a rule of this name; *program* decides on names that this list does not have."""
    return name in _KNOWN or (program is not None and bool(name) and _knows(program, name))


def known_rules() -> frozenset[str]:
    """Return the names of the rules of squawk in this list."""
    return _KNOWN


def _knows(program: str, name: str) -> bool:
    command = [program, f"--include={name}", "--stdin-filepath=none.sql"]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False)  # noqa: S603 - it is squawk
    return done.returncode == 0


def check(
    program: str, revisions: Sequence[Revision], enable: Collection[str]
) -> Iterator[tuple[Revision, str, Problem]]:
    """Yield the problems that squawk finds in *revisions*, each with the name of the rule.

    :raises ConfigurationError: if squawk does not work.
    """
    for alone in (False, True):
        scripts = [
            _Script(
                each, [step for step in each.steps if step.in_autocommit_block is alone and not step.by_long_change]
            )
            for each in revisions
        ]
        arguments = ["--no-assume-in-transaction" if alone else "--assume-in-transaction"]
        if names := sorted(rule for rule in enable if not rule.upper().startswith("TK")):
            arguments.append(f"--include={','.join(names)}")
        unread: set[_Script] = set()
        for script, step, violation in list(_run(program, arguments, scripts)):
            if violation["rule_name"] == _UNREAD:
                # squawk checks nothing else in a file that it cannot read.
                if step not in script.steps:
                    continue
                script.steps.remove(step)
                unread.add(script)
            yield _problem(script, step, violation)
        for script, step, violation in _run(program, arguments, [*unread]):
            yield _problem(script, step, violation)


def _problem(script: _Script, step: Step, violation: dict[str, Any]) -> tuple[Revision, str, Problem]:
    rule: str = violation["rule_name"]
    parts = [violation["message"], violation["help"] or "", f"See https://squawkhq.com/docs/{rule}"]
    return (
        script.revision,
        rule,
        Problem(step.lines, "".join(f"{as_clause(each)}. " for each in parts if each).rstrip()),
    )


@dataclass(eq=False)
class _Script:
    """A file with statements for squawk."""

    revision: Revision
    steps: list[Step]
    _starts: list[int] = field(default_factory=list[int])

    def text(self) -> str:
        """Return the file's content, and record where each step begins.

        An empty line follows each, so it does not matter whether squawk counts lines from 0 or from 1.
        """
        self._starts.clear()
        lines: list[str] = []
        for step in self.steps:
            self._starts.append(len(lines))
            lines += [*step.sql.rstrip("; \n").splitlines(), ";", ""]
        return "\n".join(lines)

    def step_at(self, line: int) -> Step:
        """Return the step to which *line* of the text belongs."""
        return self.steps[bisect_right(self._starts, line) - 1]


def _run(
    program: str, arguments: Sequence[str], scripts: Sequence[_Script]
) -> Iterator[tuple[_Script, Step, dict[str, Any]]]:
    """Yield the violations in *scripts*, each with its step."""
    with TemporaryDirectory(prefix="tenantkit-lint-") as folder:
        files = {str(Path(folder, f"{number}.sql")): script for number, script in enumerate(scripts) if script.steps}
        if not files:
            return
        for file, script in files.items():
            Path(file).write_text(script.text(), encoding="utf-8")
        done = subprocess.run(  # noqa: S603 - the program is squawk, the files are ours
            [program, "--reporter=json", *arguments, str(Path(folder, "*.sql"))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            violations = json.loads(done.stdout)
        except ValueError as error:
            message = " ".join((done.stderr or done.stdout).split()[:60]) or f"exit code {done.returncode}"
            raise ConfigurationError(
                f"squawk does not work: {as_clause(message)}. "
                "Install the version that tenantkit supports: pip install 'tenantkit[lint]'."
            ) from error
    for violation in violations:
        script = files[violation["file"]]
        yield script, script.step_at(violation["line"]), violation
