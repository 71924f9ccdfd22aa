"""Forms of env.py and alembic.ini that applications of plain Alembic have."""

from __future__ import annotations

import py_compile
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from tenantkit import ConfigurationError, Tenancy
from tenantkit.lint import lint
from tenantkit.migrations import downgrade, migrate, revision
from tests.migrations.environments import Environment

Make = Callable[..., Tenancy]

ENVIRONMENTS = {
    "offline and online": """
        def online(): run_environment()
        def offline(): raise RuntimeError("offline")
        offline() if context.is_offline_mode() else online()
    """,
    "settings": """
        import logging.config
        config = context.config
        if config.config_file_name is not None: logging.config.fileConfig(config.config_file_name)
        section = config.get_section(config.config_ini_section, {})
        assert config.get_main_option("sqlalchemy.url") is None and config.get_alembic_option("mine", "no") == "5%"
        assert section.get("mine") == "5%" and config.attributes.get("connection") is None
        config.set_main_option("sqlalchemy.url", "postgresql://user:p%%40ss@nowhere/x")
        config.set_main_option("mine", "other")
        config.attributes["connection"] = "mine"
        run_environment()
    """,
    "arguments": """
        assert context.get_x_argument() == [] and context.get_x_argument(as_dictionary=True) == {}
        assert context.get_tag_argument() is None
        assert context.script.get_current_head() == context.get_head_revision() == context.get_head_revisions()[0]
        run_environment()
    """,
    "hooks": """
        def applied(ctx, step, heads, run_args, **kw):
            assert step.is_upgrade in (True, False) and step.up_revision_id in ("one", "two") and run_args == {}
            ctx.connection.execute(sa.text("CREATE TABLE IF NOT EXISTS hooked (x text)"))
        run_environment(on_version_apply=[applied, applied])
    """,
    "all options": """
        never = lambda *arguments: None
        run_environment(
            compare_type=never, compare_server_default=never, render_item=lambda *arguments: False, render_as_batch=True,
            user_module_prefix="app.", sqlalchemy_module_prefix="sa.", alembic_module_prefix="op.", upgrade_token="up",
            downgrade_token="down", template_args={"mine": 1}, include_name=lambda *arguments: True,
            include_object=lambda *arguments: True, process_revision_directives=[], on_version_apply=None, my_own=3,
        )
    """,
    "models that are imported there": """
        import importlib, warnings
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for name in ("json", "sqlalchemy.orm"): importlib.import_module(name)
        target_metadata = sa.MetaData()
        run_environment()
    """,
    "a thread": """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(1) as pool: pool.submit(run_environment).result()
    """,
    "asyncio": """
        import asyncio
        async def main(): run_environment()
        asyncio.run(main())
    """,
    "asyncio.to_thread": """
        import asyncio
        asyncio.run(asyncio.to_thread(run_environment))
    """,
    "main guard": """
        def run(): run_environment()
        if __name__ != "__main__": run()
    """,
}


@pytest.mark.some_values(form=10)
@pytest.mark.parametrize("jobs", [0, 1])
@pytest.mark.parametrize("form", ENVIRONMENTS)
def test_an_env_py_of_this_form_runs_the_revisions(
    form: str, jobs: int, environment: Environment, make: Make, engine: Engine
) -> None:
    ini = environment.folder.parent / "alembic.ini"
    ini.write_text(ini.read_text().replace("[tenant]", "[tenant]\nmine = 5%%"))
    environment.add(
        "one",
        "op.create_table('one', sa.Column('x', sa.Integer), schema='tenant')",
        "op.drop_table('one', schema='tenant')",
    )
    head = "import sqlalchemy as sa\nfrom alembic import context\nfrom tenantkit.migrations import run_environment\n"
    (environment.folder / "env.py").write_text(head + dedent(ENVIRONMENTS[form]))
    for key in ("acme", "beta", "gamma"):
        make().create(key)
    environment.add(
        "two",
        "op.add_column('one', sa.Column('y', sa.Integer), schema='tenant')",
        "op.drop_column('one', 'y', schema='tenant')",
    )
    migrate(make(), jobs=jobs)
    with engine.connect() as connection:
        for key in ("acme", "beta", "gamma"):
            assert connection.execute(sa.text(f"SELECT y FROM t_{key}.one")).all() == []
    downgrade(make(), "base", jobs=jobs)
    with engine.connect() as connection:
        assert not sa.inspect(connection).has_table("one", schema="t_acme")


@pytest.mark.parametrize("jobs", [0, 1])
def test_revisions_without_their_source_run(jobs: int, environment: Environment, make: Make, engine: Engine) -> None:
    ini = environment.folder.parent / "alembic.ini"
    ini.write_text(ini.read_text().replace("[tenant]", "[tenant]\nsourceless = true"))
    environment.add("one", "op.execute('CREATE TABLE one ()')")
    _compile(environment.folder / "tenant" / "one.py")
    tenancy = make()
    for key in ("acme", "beta", "gamma"):
        tenancy.create(key)
    environment.add(
        "two", "op.execute('CREATE TABLE two ()')\nop.execute('SELECT 1/0') if FAILS else None", head="FAILS = False"
    )
    _compile(environment.folder / "tenant" / "two.py")
    migrate(make(), jobs=jobs)
    with pytest.raises(ConfigurationError, match=r"two\.pyc has no source, which lint reads"):
        lint(make(), ["two"])
    assert revision(make(), "three") is not None
    make().create("new")
    with engine.connect() as connection:
        for key in ("acme", "beta", "gamma", "new"):
            assert {"one", "two"} <= {*sa.inspect(connection).get_table_names(schema=f"t_{key}")}


def _compile(file: Path) -> None:
    py_compile.compile(str(file), str(file.with_suffix(".pyc")))
    file.unlink()
