from sqlalchemy import select, text
from typing import Any
from tests.support.models import Project, Task


def test_smoke(any_tenancy: Any) -> None:
    any_tenancy.create("acme")
    any_tenancy.create("beta")
    for key in ("acme", "beta"):
        with any_tenancy.session(key) as session:
            session.add(Project(name=key, tasks=[Task(title="x")]))
            session.commit()
            with session.begin_nested():
                assert session.execute(text("select count(*) from task")).scalar_one() == 1
            assert session.scalars(select(Project.name)).all() == [key]
