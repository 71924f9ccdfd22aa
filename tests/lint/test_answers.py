"""Revisions whose queries always have a row can be checked."""

from __future__ import annotations

import pytest

from tests.lint.conftest import Lint
from tests.lint.snippets import revision

pytestmark = pytest.mark.each_value

SEES_THE_END = "op.execute('TRUNCATE public.task')"

ASKING = {
    "count": "assert op.get_bind().scalar(sa.text('SELECT count(*) FROM task')) + 1 == 1",
    "count of a table": "assert op.get_bind().scalar(sa.select(sa.func.count()).select_from(sa.table('task'))) == 0",
    "named": "assert op.get_bind().execute(sa.text('SELECT count(*) AS n, 7 AS m FROM task')).one().n == 0",
    "sum": "assert op.get_bind().scalars(sa.text('SELECT coalesce(sum(size), 0) FROM task')).one() * 2 == 0",
    "max": "assert op.get_bind().scalars(sa.text('SELECT max(size) FROM task')).one() is None",
    "exists": "assert op.get_bind().scalar(sa.text('SELECT EXISTS (SELECT FROM task)')) is False",
    "literal": "assert op.get_bind().scalars(sa.text('SELECT 17')).one() == 17",
    "text": "assert op.get_bind().scalar(sa.text(\"SELECT 'it''s' AS x\")).upper() == \"IT'S\"",
    "version": "assert op.get_bind().exec_driver_sql('SELECT version()').scalar_one().startswith('PostgreSQL')",
    "setting": "assert int(op.get_bind().exec_driver_sql('SHOW server_version_num').scalar_one()) > 1",
    "new row": "assert op.get_bind().scalar(sa.text(\"INSERT INTO task (a) VALUES ('x') RETURNING id\")) == 1",
    "new rows": "assert len(op.get_bind().execute(sa.text('INSERT INTO task VALUES (1), (2) RETURNING id')).all()) == 2",
    "rows": "assert op.get_bind().execute(sa.text('SELECT id, size FROM task')).all() == []",
    "rows of a group": "assert op.get_bind().execute(sa.text('SELECT count(*) FROM task GROUP BY size')).all() == []",
    "rows with a condition": "assert op.get_bind().execute(sa.text('SELECT 1 WHERE false')).all() == []",
    "copied rows": "assert not op.get_bind().execute(sa.text('INSERT INTO a SELECT 1 FROM b RETURNING id')).all()",
    "deleted rows": "assert not op.get_bind().execute(sa.text('DELETE FROM task RETURNING id')).all()",
}


@pytest.mark.parametrize("asking", ASKING)
def test_queries_that_always_have_a_row_are_answered(asking: str, lint_file: Lint) -> None:
    found = lint_file(revision(f"{ASKING[asking]}\n{SEES_THE_END}"))
    assert {finding.code for finding in found} == {"TK001", "TK007"}, found


def test_objects_are_added_and_changed_in_a_session(lint_file: Lint) -> None:
    head = "from sqlalchemy.orm import Session\nfrom tests.support.models import Project, Task"
    upgrade = f"""
        with Session(op.get_bind()) as session:
            project = Project(name="First")
            session.add(project)
            session.flush()
            assert project.id
            session.add_all([Task(title="one", project_id=project.id), Task(title="two", project_id=project.id)])
            session.flush()
            project.name = "Second"
            session.flush()
        {SEES_THE_END}
    """
    found = lint_file(revision(upgrade, head=head))
    assert {finding.code for finding in found} == {"TK001", "TK007"}, [each.message for each in found]


def test_an_unknown_answer_is_not_reported_as_a_failure_for_tenants(lint_file: Lint) -> None:
    [asks, *_] = [
        each
        for each in lint_file(revision("sa.Table('task', sa.MetaData(), autoload_with=op.get_bind())"))
        if each.code == "TK000"
    ]
    assert "fails without a database, where queries find nothing: NoSuchTableError: task" in asks.message
