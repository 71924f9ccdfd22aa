"""New revisions of one graph, from a request to their files."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from alembic.autogenerate import RevisionContext
from alembic.script import ScriptDirectory
from alembic.util import asbool

from tenantkit.arguments import FLAG, NAME, NAMES, STORABLE_NAME, TEXT, Kind, either, optional
from tenantkit.exceptions import ConfigurationError
from tenantkit.migrations.authoring.proposals import propose, with_phase
from tenantkit.migrations.environment.env_file import environment, requesting, run_file

if TYPE_CHECKING:
    from alembic.runtime.environment import ProcessRevisionDirectiveFn
    from alembic.runtime.migration import MigrationContext

    from tenantkit.migrations.environment.env_file import EnvRequest
    from tenantkit.migrations.graph.revision_graph import RevisionGraph
    from tenantkit.migrations.planning.phases import Phase


class Position(TypedDict, total=False):
    """The place of a new revision in its graph: the options of ``alembic revision``."""

    head: str
    """The revision that it follows: an id or a part of it, ``branch@head``, or ``base``. By default the only head."""
    splice: bool
    """Whether it may follow a revision that is not a head, and so begin a branch."""
    branch_label: str | None
    """The name of the branch that begins with it."""
    depends_on: str | Collection[str] | None
    """Revisions, or labels of branches, that have to be applied before it."""
    rev_id: str | None
    """Its id, by default random digits: at most 32 letters, digits, ``_`` and ``.``."""


MESSAGE = replace(STORABLE_NAME, takes="a text that is not blank, without NUL and lone surrogates")


def _names(pattern: str, name: str) -> bool:
    """Return whether *name* can be told from the targets of Alembic's own."""
    return re.fullmatch(pattern, name) is not None and name not in {"base", "head", "heads"}


POSITION: Mapping[str, Kind] = {
    "head": NAME,
    "splice": FLAG,
    "branch_label": optional(
        Kind("a name of letters, digits, '_', '.' and '-'", TEXT.has_type, lambda each: _names(r"\w[\w.-]*", each))
    ),
    "depends_on": optional(either(NAME, NAMES)),
    "rev_id": optional(
        Kind(
            "an id of at most 32 letters, digits, '_' and '.', which becomes a part of the file's name",
            TEXT.has_type,
            lambda each: _names(r"\w[\w.]{0,31}", each),  # as long as alembic_version.version_num
        )
    ),
}
"""The kind of each option of a `Position`."""


class Drafts:
    """The revisions of one request: one, unless a hook of ``env.py`` makes none or several of it."""

    def __init__(
        self, graph: RevisionGraph, message: str, position: Position, phase: Phase | None, *, autogenerate: bool
    ) -> None:
        self._graph = graph
        self._phase: Phase | None = phase
        self.autogenerate = autogenerate
        self._scripts = ScriptDirectory.from_config(graph.config)
        self._fill_in = self._scripts._generate_template  # noqa: SLF001 - no hook comes before those of the user
        self._scripts._generate_template = self._generate  # type: ignore[method-assign] # noqa: SLF001 - as the line above
        self._written: list[Path] = []
        self._phases: dict[str, tuple[Phase | None, bool]] = {}
        depends_on = position.get("depends_on")
        arguments: dict[str, Any] = {
            "head": "head",
            "splice": False,
            "branch_label": None,
            "rev_id": None,
            **position,
            "depends_on": depends_on if depends_on is None or isinstance(depends_on, str) else [*depends_on],
        }
        self._context = RevisionContext(
            graph.config,
            self._scripts,
            {
                **arguments,
                "message": message,
                "autogenerate": autogenerate,
                "sql": False,
                "version_path": str(graph.folder),
            },
        )

    @property
    def need_environment(self) -> bool:
        """Whether ``env.py`` runs for each revision, also without autogenerate."""
        return self.autogenerate or asbool(self._graph.config.get_alembic_option("revision_environment"))

    def run_environment(self, request: EnvRequest, prepare: ProcessRevisionDirectiveFn | None = None) -> None:
        """Run ``env.py``, which compares the models with the database and calls the hooks, *prepare* first.

        :raises ConfigurationError: if it does not call `run_environment`.
        """
        self._context.process_revision_directives = prepare

        def compare(revision: Any, migration: MigrationContext) -> list[Any]:
            if self.autogenerate:
                self._context.run_autogenerate(revision, migration)
            else:
                self._context.run_no_autogenerate(revision, migration)
            return []

        options = {"template_args": self._context.template_args, "revision_context": self._context}
        with requesting(self._graph.config, request), environment(self._graph, request, compare, **options):
            run_file(self._graph, request)

    def write(self) -> Sequence[Path]:
        """Write the files and return them. After autogenerate, the operations propose each one's phase."""
        for each in self._context.generated_revisions:
            phase, is_mixed = self._phase, False
            if phase is None and self.autogenerate:
                phase, is_mixed = propose(each.upgrade_ops_list)
            self._phases[str(each.rev_id)] = phase, is_mixed
        try:
            return [Path(script.path) for script in self._context.generate_scripts() if script is not None]
        except BaseException:
            # Alembic checks labels, and runs hooks, after it has written the file; the next attempt would find it.
            for file in self._written:
                file.unlink(missing_ok=True)
            raise

    def _generate(self, src: Path, dest: Path, **values: Any) -> None:
        """Fill in the template as Alembic does, with the phase, before its ``post_write_hooks`` see the file."""
        revision = values["up_revision"]
        if dest.exists() or revision in self._scripts.revision_map._revision_map:  # noqa: SLF001 - exactly this id
            raise ConfigurationError(
                f"There is a revision {revision} already, or a file {dest}, and nothing was overwritten. Give the new "
                "revision another id or message."
            )
        self._written.append(dest)
        text = str(values["message"]).replace("\\", r"\\").replace('"""', r"\"\"\"")  # for the docstring
        self._fill_in(src, dest, **{**values, "message": text})
        phase, is_mixed = self._phases[revision]
        if phase is not None:
            encoding = self._scripts.output_encoding
            dest.write_text(with_phase(dest.read_text(encoding), phase, is_mixed=is_mixed), encoding)
