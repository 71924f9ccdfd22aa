"""Random graphs of revisions: each command leads a tenant to where plain Alembic leads one schema, or is refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from hypothesis import HealthCheck, Phase, event, given
from hypothesis import strategies as st
from sqlalchemy import URL, Engine, MetaData, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from tenantkit import ConfigurationError, MigrationError, Tenancy
from tenantkit.migrations import downgrade, init, migrate, stamp
from tests.migrations.environments import Environment
from tests.migrations.parity.plain import Plain
from tests.support.generated import examples

IDS = ("abc1", "abd2", "b3", "c4", "d5", "e6")
"""Ids, of which two begin alike."""


@dataclass
class Graph:
    """Revisions, each with those that it follows and depends on, and its labels."""

    down: dict[str, tuple[str, ...]] = field(default_factory=dict)
    depends: dict[str, str | None] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    def write(self, environment: Environment) -> None:
        for revision, down in self.down.items():
            head = [f"depends_on = {self.depends[revision]!r}"] if self.depends.get(revision) else []
            head += [f"branch_labels = ({self.labels[revision]!r},)"] if revision in self.labels else []
            create, drop = f"op.execute('CREATE TABLE {revision} ()')", f"op.execute('DROP TABLE {revision}')"
            environment.add(revision, create, drop, after=down or "base", head="\n".join(head))


def includes(graph: Graph, revision: str) -> set[str]:
    """Return a revision and all below it, also by dependencies."""
    below = [*graph.down[revision], *filter(None, [graph.depends.get(revision)])]
    return {revision}.union(*(includes(graph, each) for each in below))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    graph = Graph()
    for revision in IDS[: draw(st.integers(2, len(IDS)))]:
        there = [*graph.down]
        down = draw(st.lists(st.sampled_from(there), max_size=2, unique=True)) if there else []
        if len(down) > 1 and (down[0] in includes(graph, down[1]) or down[1] in includes(graph, down[0])):
            down = down[:1]
        graph.down[revision] = tuple(down)
        others = [each for each in there if not any(each in includes(graph, below) for below in down)]
        if others and draw(st.integers(0, 3)) == 0:
            graph.depends[revision] = draw(st.sampled_from(others))
        if draw(st.integers(0, 2)) == 0:
            graph.labels[revision] = f"label{revision}"
    return graph


@st.composite
def targets(draw: st.DrawFn, graph: Graph) -> str:
    names = [*graph.down, *graph.labels.values(), "head", "heads", "base", "ab", "abc"]
    name = draw(st.sampled_from(names))
    branch = draw(st.sampled_from([*graph.labels.values(), *graph.down]))
    step = draw(st.sampled_from(["+1", "-1", "+2", "-2"]))
    return draw(
        st.sampled_from(
            [name, name, name, step, f"{name}{step}", f"{branch}@base", f"{branch}@{step}", f"{branch}@head"]
        )
    )


@st.composite
def stories(draw: st.DrawFn) -> tuple[Graph, list[tuple[str, str]]]:
    graph = draw(graphs())
    heads = [each for each in graph.down if not any(each in includes(graph, other) - {other} for other in graph.down)]
    several = st.lists(st.sampled_from(heads), min_size=1, max_size=3, unique=True).map(",".join)
    commands = st.one_of(
        st.tuples(st.sampled_from(["upgrade", "downgrade"]), targets(graph)),
        st.tuples(st.sampled_from(["stamp", "purge"]), targets(graph) | several),
    )
    return graph, draw(st.lists(commands, min_size=1, max_size=4))


@pytest.fixture(scope="module")
def template(make_template: Callable[..., URL], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a tenant that has no revision."""
    init(folder := tmp_path_factory.mktemp("graphs") / "migrations")
    Environment(folder).add("zero", "pass")
    url = make_template()
    with closing(tenancy_of(url, folder)) as tenancy:
        tenancy.install()
        tenancy.create("acme")
        with tenancy.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM t_acme.alembic_version")
    return url.database or ""


def tenancy_of(url: URL, folder: Path) -> Tenancy:
    return Tenancy(url, tenant=MetaData(schema="side"), placeholder="side", migrations=folder, listen=False)


def state(engine: Engine, schema: str) -> tuple[list[str], list[str]]:
    """Return the content of the version table, and the tables, of a schema."""
    with engine.connect() as connection:
        tables = connection.exec_driver_sql(
            "SELECT tablename FROM pg_tables WHERE schemaname = %(schema)s ORDER BY 1", {"schema": schema}
        ).scalars()
        found = tables.all()
        if "alembic_version" not in found:
            return [], [*found]
        versions = connection.exec_driver_sql(f"SELECT version_num FROM {schema}.alembic_version ORDER BY 1")
        return [*versions.scalars()], [table for table in found if table != "alembic_version"]


def run_plain(plain: Plain, kind: str, target: str) -> str | None:
    """Return the error of a command of plain Alembic, ``None`` if there is none."""
    try:
        match kind:
            case "upgrade":
                plain.upgrade(target)
            case "downgrade":
                plain.downgrade(target)
            case _:
                plain.stamp(target, purge=kind == "purge")
    except (AssertionError, CommandError, DBAPIError, RevisionError) as error:
        return str(error) or "an assertion of Alembic"
    return None


def run_ours(tenancy: Tenancy, kind: str, target: str) -> str | None:
    """Return the error of a command of tenantkit, ``None`` if there is none."""
    try:
        match kind:
            case "upgrade":
                migrate(tenancy, target, jobs=0)
            case "downgrade":
                downgrade(tenancy, target, jobs=0)
            case _:
                stamp(tenancy, target, purge=kind == "purge", jobs=0)
    except (ConfigurationError, MigrationError) as error:
        return str(error)
    return None


@examples(8, 60, phases=[Phase.generate, Phase.shrink], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories())
def test_a_command_leads_to_the_revisions_of_alembic(
    story: tuple[Graph, list[tuple[str, str]]], template: str, make_database: Callable[..., URL], tmp_path: Path
) -> None:
    graph, commands = story
    folder = tmp_path / "migrations"
    for each in (folder, tmp_path / "plain", tmp_path / "alembic.ini"):
        shutil.rmtree(each, ignore_errors=True) if each.is_dir() else each.unlink(missing_ok=True)
    init(folder)
    graph.write(Environment(folder))
    url = make_database(template)
    engine = create_engine(url, poolclass=NullPool)
    plain = Plain(url, folder / "tenant", MetaData(schema="tenant"))
    with closing(tenancy_of(url, folder)) as tenancy:
        for kind, target in commands:
            theirs, ours = run_plain(plain, kind, target), run_ours(tenancy, kind, target)
            event(f"{kind} {'done' if theirs is None else 'refused'}")
            assert state(engine, "t_acme") == state(engine, "tenant"), (theirs, ours)
            assert (ours is None) == (theirs is None), (theirs, ours)
            assert ours is None or "psycopg" in (theirs or "") or not re.search(r"\w+Error|Correct the file", ours)
