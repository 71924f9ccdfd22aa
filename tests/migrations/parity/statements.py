"""Revisions that use the connection: textual SQL, batches, inspectors, reflection, sessions, hooks."""

from __future__ import annotations

BATCHES = {
    "batch": """
        with op.batch_alter_table("task", schema=S) as batch:
            batch.add_column(sa.Column("extra", sa.Text, index=True))
            batch.alter_column("hours", new_column_name="effort", existing_type=sa.Integer)
            batch.create_index(batch.f("as_it_is"), ["extra"])
            batch.create_index(None, ["title", "extra"])
            batch.create_unique_constraint(None, ["extra"])
            batch.create_check_constraint("extra", sa.column("extra") > "a")
            batch.create_foreign_key(None, "project", ["id"], ["id"], referent_schema=S)
            batch.drop_constraint("fk_task_project_id_project", type_="foreignkey")
            batch.drop_column("project_id")
            batch.create_table_comment("new")
    """,
    "batch_that_copies_the_table": """
        with op.batch_alter_table("task", schema=S, recreate="always") as batch:
            batch.alter_column("title", type_=sa.String(80))
            batch.add_column(sa.Column("extra", sa.Text), insert_after="id")
    """,
    "batch_with_a_naming_convention_of_its_own": """
        with op.batch_alter_table("task", schema=S, naming_convention={"uq": "unique_%(column_0_name)s"}) as batch:
            batch.create_unique_constraint(None, ["title"])
            batch.create_unique_constraint("own", ["hours"])
    """,
}

TEXT = {
    "execute": """
        op.execute("INSERT INTO task (id, title) SELECT id + 10, name FROM project")
        op.execute(sa.text("INSERT INTO task (id, title) VALUES (:id, :title)").bindparams(id=20, title="it's 100% :x"))
        op.execute("UPDATE task SET title = '100% of %(this)s' WHERE id = 20")
        task = sa.table("task", sa.column("id", sa.Integer), sa.column("title"), sa.column("hours"), schema=S)
        op.execute(task.update().where(task.c.id == op.inline_literal(20)).values(hours=op.inline_literal(3)))
        op.execute(task.delete().where(task.c.id == 1))
        op.execute(sa.insert(task).from_select(["id", "title"], sa.select(task.c.id + 100, task.c.title)))
    """,
    "run_async": """
        op.get_bind().exec_driver_sql("INSERT INTO task (id, title) VALUES (%s, %s)", (30, "driver"))
        op.get_bind().connection.cursor().execute("INSERT INTO task (id, title) VALUES (31, 'cursor')")
    """,
    "functions_views_and_triggers": '''
        op.execute("CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql AS 'SELECT x * 2'")
        op.execute("CREATE VIEW titles AS SELECT title, twice(hours) AS hours FROM task")
        op.execute("CREATE MATERIALIZED VIEW m AS SELECT title FROM task")
        op.create_index("ix_m", "m", ["title"], schema=S, unique=True)
        op.execute("""
            CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN NEW.title := NEW.title || '!'; RETURN NEW; END $$
        """)
        op.execute("CREATE TRIGGER touch BEFORE INSERT ON task FOR EACH ROW EXECUTE FUNCTION touch()")
        op.execute("INSERT INTO task (id) VALUES (5)")
        op.execute("ALTER TABLE task ENABLE ROW LEVEL SECURITY")
        op.execute("CREATE POLICY mine ON task USING (hours > 1)")
        op.execute("COMMENT ON FUNCTION twice(int) IS 'two times'")
        op.execute("DO $$ BEGIN IF EXISTS (SELECT FROM task) THEN ALTER TABLE task ADD COLUMN done int; END IF; END $$")
    ''',
    "other_blocks": """
        with op.get_context().autocommit_block():
            op.create_index("ix_c", "task", ["title"], schema=S, postgresql_concurrently=True)
            op.execute("CREATE INDEX CONCURRENTLY ix_d ON task (hours)")
        op.create_index(None, "task", ["project_id"], schema=S)
        with op.get_bind().begin_nested():
            op.execute("INSERT INTO task (id) VALUES (40)")
    """,
}

CONNECTIONS = {
    "inspector_guards": """
        inspector = sa.inspect(op.get_bind())
        if not inspector.has_table("note", schema=S):
            op.create_table("note", sa.Column("x", sa.Integer), schema=S)
        if inspector.has_table("task", schema=S):
            op.add_column("task", sa.Column("found", sa.Text), schema=S)
        if "hours" in [column["name"] for column in inspector.get_columns("task", schema=S)]:
            op.drop_column("task", "hours", schema=S)
        if "absent" not in {column["name"] for column in inspector.get_columns("task", S)}:
            op.add_column("task", sa.Column("absent", sa.Text), schema=S)
    """,
    "inspector_reads_everything": """
        bind = op.get_bind()
        bind.exec_driver_sql("CREATE TYPE mood AS ENUM ('a')")
        bind.exec_driver_sql("CREATE SEQUENCE seq")
        bind.exec_driver_sql("CREATE VIEW v AS SELECT id FROM task")
        inspector = sa.inspect(bind)
        lines = [
            *map(sorted, [inspector.get_table_names(schema=S), inspector.get_view_names(schema=S), inspector.get_sequence_names(schema=S)]),
            inspector.has_sequence("seq", schema=S), inspector.get_view_definition("v", schema=S),
            [(enum["name"], enum["labels"], enum["schema"] == (S or enum["schema"])) for enum in inspector.get_enums(schema=S)],
            inspector.get_pk_constraint("task", schema=S), inspector.get_foreign_keys("task", schema=S),
            inspector.get_indexes("task", schema=S), inspector.get_unique_constraints("project", schema=S),
            inspector.get_check_constraints("task", schema=S), inspector.get_table_comment("task", schema=S),
            sorted(map(repr, inspector.get_multi_columns(schema=S))), S is None or inspector.has_schema(S),
            inspector.get_multi_foreign_keys(schema=S), inspector.has_index("task", "absent", schema=S),
            bind.dialect.has_table(bind, "task", schema=S), inspector.get_columns("task", schema=inspector.default_schema_name)[0]["name"],
        ]
        made = op.create_table("said", sa.Column("n", sa.Integer), sa.Column("what", sa.Text), schema=S)
        op.bulk_insert(made, [{"n": n, "what": repr(line)} for n, line in enumerate(lines)])
    """,
    "a_table_named_like_the_schema": """
        op.create_table("tenant", sa.Column("tenant", sa.Integer, primary_key=True), sa.Column("nspname", sa.Text), schema=S)
        inspector = sa.inspect(op.get_bind())
        if inspector.has_table("tenant", schema=S) and inspector.get_columns("tenant", schema=S)[0]["name"] == "tenant":
            op.bulk_insert(sa.table("tenant", sa.column("tenant"), sa.column("nspname"), schema=S), [{"tenant": 1, "nspname": "tenant"}])
        op.rename_table("tenant", "called", schema=S)
    """,
    "reflection": """
        bind, metadata = op.get_bind(), sa.MetaData()
        task = sa.Table("task", metadata, schema=S, autoload_with=bind)
        project = metadata.tables[f"{S}.project" if S else "project"]
        bind.execute(project.insert().values(id=7, name="seven"))
        bind.execute(task.insert().values(id=7, project_id=7, title="x"))
        found = bind.execute(sa.select(project.c.name).select_from(task.join(project))).scalars().all()
        op.execute(task.update().values(title=",".join(found)))
        whole = sa.MetaData(schema=S)
        whole.reflect(bind)
        op.bulk_insert(whole.tables[f"{S}.project" if S else "project"], [{"id": 8, "name": "eight"}])
    """,
    "automap": """
        from sqlalchemy.ext.automap import automap_base
        from sqlalchemy.orm import Session
        Base = automap_base(metadata=sa.MetaData(schema=S))
        Base.prepare(autoload_with=op.get_bind())
        with Session(bind=op.get_bind()) as session:
            session.add(Base.classes.task(id=9, title="mapped", project=session.get(Base.classes.project, 1)))
            session.commit()
    """,
    "orm_session": """
        from sqlalchemy.orm import Session, declarative_base
        Base = declarative_base(metadata=sa.MetaData(schema=S))
        class Project(Base):
            __tablename__ = "project"
            id = sa.Column(sa.Integer, primary_key=True)
            name = sa.Column(sa.String)
        session = Session(bind=op.get_bind())
        for number in range(2, 5):
            session.add(Project(id=number, name=f"p{number}"))
        session.flush()
        for project in session.query(Project).order_by(Project.id):
            project.name = project.name.upper()
        session.commit()
        Base.metadata.create_all(op.get_bind(), checkfirst=True)
    """,
    "metadata_of_the_context": """
        names = op.get_context().opts["target_metadata"].naming_convention
        op.create_index(names["pk"] % {"table_name": "named"}, "task", ["hours"], schema=S)
        op.create_table("opts", sa.Column(op.get_context().opts.get("my_option", "none"), sa.Text), schema=S)
        op.create_table("ini", sa.Column(op.get_context().config.get_main_option("my_setting", "none"), sa.Text), schema=S)
    """,
    "schema_that_the_database_names": """
        schema = op.get_bind().scalar(sa.text("SELECT current_schema()"))
        op.create_table("n", sa.Column("id", sa.Integer, primary_key=True), sa.Column("x", sa.Text, index=True), schema=schema)
        op.create_index(None, "task", ["hours"], schema=sa.inspect(op.get_bind()).default_schema_name)
        op.create_foreign_key(None, "task", "n", ["hours"], ["id"], source_schema=schema, referent_schema=schema)
    """,
    "custom_operation": """
        op.create_marker("marked", schema=S)
    """,
}
