"""Revisions with further forms of arguments: of columns, keys, tables, statements and the inspector."""

from __future__ import annotations

COLUMNS = {
    "flags_of_columns": """
        op.create_table(
            "flags",
            sa.Column("a", sa.Integer, index=True, unique=True, comment="one: 100% 'a'"),
            sa.Column("b", sa.Text, index=True, nullable=False, server_default=""),
            sa.Column("c", sa.Text, unique=True, server_default=sa.func.current_user()),
            sa.Column("d", sa.DateTime(timezone=True), server_default=sa.func.now(), server_onupdate=sa.FetchedValue()),
            sa.Column("e", sa.Integer, sa.Identity(always=False, minvalue=-5, maxvalue=90, cycle=True, cache=3)),
            sa.Column("f", sa.Integer, sa.Computed("a + e", persisted=True), key="other"),
            sa.Column("g", sa.Boolean, sa.CheckConstraint("g IS NOT FALSE", name="truth")),
            sa.Column("h", sa.Text, info={"x": 1}, system=False, quote=True),
            schema=S,
        )
    """,
    "types_of_columns": """
        op.create_table(
            "types",
            sa.Column("a", postgresql.ARRAY(sa.Integer, dimensions=2)), sa.Column("b", postgresql.JSONB(none_as_null=True)),
            sa.Column("c", postgresql.UUID), sa.Column("d", postgresql.INTERVAL(fields="DAY TO SECOND", precision=3)),
            sa.Column("e", postgresql.TSTZRANGE), sa.Column("f", postgresql.TSVECTOR), sa.Column("g", sa.LargeBinary),
            sa.Column("h", sa.Numeric(8, 2)), sa.Column("i", sa.String(7, collation="C")), sa.Column("j", sa.Unicode),
            sa.Column("k", sa.Enum("x", "y", native_enum=False, create_constraint=True, name="kind", length=9)),
            sa.Column("l", sa.Boolean(create_constraint=True, name="is_l")), sa.Column("m", postgresql.BIT(3)),
            sa.Column("n", sa.JSON().with_variant(postgresql.JSONB(), "postgresql")), sa.Column("o", postgresql.INET),
            sa.Column("p", postgresql.INT4MULTIRANGE), sa.Column("q", sa.Uuid), sa.Column("r", sa.Double(53)),
            schema=S,
        )
    """,
    "enums_of_all_kinds": """
        class Size(__import__("enum").Enum):
            small = "S"
            large = "L"
        op.create_table(
            "sizes",
            sa.Column("a", sa.Enum(Size, name="size", schema=S), server_default="large"),
            sa.Column("b", sa.Enum(Size, values_callable=lambda e: [x.value for x in e], name="short_size", schema=S)),
            sa.Column("c", postgresql.ARRAY(sa.Enum(Size, name="size", schema=S))),
            schema=S,
        )
        op.execute("ALTER TYPE size ADD VALUE IF NOT EXISTS 'huge'")
        op.alter_column("sizes", "b", type_=sa.Text, existing_type=sa.Enum(Size, name="short_size", schema=S), schema=S)
        sa.Enum(Size, name="short_size", schema=S).drop(op.get_bind())
    """,
    "add_columns_of_all_kinds": """
        op.add_column("task", sa.Column("a", sa.Text, server_default=sa.text("'x' || 'y'"), nullable=False, comment="c"), schema=S)
        op.add_column("task", sa.Column("b", sa.Text, unique=True, index=True), schema=S)
        op.add_column("task", sa.Column("c", sa.Integer, sa.ForeignKey(f"{S}.task.id" if S else "task.id", name="own_fk", ondelete="SET NULL", deferrable=True, initially="DEFERRED")), schema=S)
        op.add_column("task", sa.Column("d", sa.BigInteger, sa.Identity(always=True, start=100)), schema=S)
        op.add_column("task", sa.Column("e", sa.Integer, sa.Computed("hours + 1", persisted=True)), schema=S)
        op.add_column("task", sa.Column("Mixed Case", sa.Integer, sa.CheckConstraint('"Mixed Case" > 1', name="Mixed")), schema=S)
        op.add_column("task", sa.Column("f", sa.Integer, sa.CheckConstraint("f > 1", name=op.f("raw"))), schema=S)
    """,
    "alter_column_of_all_kinds": """
        op.alter_column("task", "title", server_default=sa.func.lower("X"), existing_type=sa.Text, schema=S)
        op.alter_column("task", "title", comment="it's 50%", existing_comment=None, existing_type=sa.Text, schema=S)
        op.alter_column("task", "title", nullable=True, existing_server_default=sa.text("lower('X')"), schema=S)
        op.alter_column("task", "hours", type_=sa.BigInteger(), existing_nullable=True, schema=S)
        op.alter_column("project", "name", new_column_name="Title", schema=S)
        op.alter_column("project", "Title", type_=sa.Text(), schema=S)
        op.alter_column("task", "title", comment=None, schema=S)
    """,
    "drop_columns_that_others_use": """
        op.create_index("ix_both", "task", ["title", "hours"], schema=S)
        op.create_check_constraint("sum", "task", "hours + id > 0", schema=S)
        op.drop_column("task", "hours", schema=S)
        op.drop_column("project", "name", schema=S, if_exists=True)
        op.drop_column("project", "name", schema=S, if_exists=True)
    """,
}

KEYS = {
    "foreign_keys_of_all_kinds": """
        op.create_table("two", sa.Column("a", sa.Integer), sa.Column("b", sa.Text), sa.PrimaryKeyConstraint("a", "b", name=op.f("two_key")), schema=S)
        op.create_foreign_key("fk_two", "task", "two", ["hours", "title"], ["a", "b"], source_schema=S, referent_schema=S, match="SIMPLE", use_alter=True)
        op.create_foreign_key(None, "two", "two", ["a", "b"], ["a", "b"], source_schema=S, referent_schema=S, ondelete="NO ACTION", onupdate="RESTRICT")
        op.create_foreign_key(op.f("raw_fk"), "two", "project", ["a"], ["id"], source_schema=S, referent_schema=S, deferrable=True, initially="IMMEDIATE", ondelete="SET NULL (a)")
        op.create_foreign_key("fk_country", "two", "country", ["b"], ["code"], source_schema=S, referent_schema="shared", ondelete="CASCADE")
        op.drop_constraint("fk_two", "task", schema=S, type_="foreignkey")
    """,
    "constraints_inside_of_tables": """
        op.create_table(
            "inside",
            sa.Column("a", sa.Integer), sa.Column("b", sa.Integer), sa.Column("c", sa.Text),
            sa.PrimaryKeyConstraint("a"),
            sa.UniqueConstraint("b", "c", name="given", deferrable=True, initially="DEFERRED"),
            sa.UniqueConstraint("b", postgresql_nulls_not_distinct=True),
            sa.UniqueConstraint("c", postgresql_include=["b"], name=op.f("raw")),
            sa.ForeignKeyConstraint(["a"], [f"{S}.project.id" if S else "project.id"], ondelete="CASCADE", match="SIMPLE"),
            sa.ForeignKeyConstraint(["b"], [f"{S}.inside.a" if S else "inside.a"], name="fk_self", use_alter=True),
            sa.ForeignKeyConstraint(["c"], ["shared.country.code"], onupdate="CASCADE"),
            sa.CheckConstraint(sa.column("a") > sa.column("b"), name="more"), sa.CheckConstraint("c <> '%'", name="percent"),
            postgresql.ExcludeConstraint((sa.column("b"), "="), name="ex", using="btree", where=sa.text("b > 1")),
            postgresql.ExcludeConstraint((sa.text("int4range(a, b)"), "&&"), using="gist", name="ranges"),
            sa.Index("by_expression", sa.text("lower(c)"), unique=True), sa.Index(None, "c", postgresql_using="hash"),
            sa.Index("by_column", sa.desc("b").nulls_last()), sa.Index("by_b", "b"),
            schema=S,
        )
    """,
    "exclude_constraints": """
        op.create_exclude_constraint("ex_b", "task", (sa.literal_column("int4range(id, id, '[]')"), "&&"), using="gist", where="hours > 1", schema=S)
        op.create_exclude_constraint("ex_c", "task", ("hours", "="), using="btree", deferrable=True, initially="DEFERRED", schema=S)
        op.create_exclude_constraint(op.f("ex_d"), "task", ("id", "="), using="hash", schema=S)
        op.drop_constraint("ex_b", "task", schema=S)
    """,
    "drop_constraints_of_all_types": """
        op.create_unique_constraint("u", "task", ["hours"], schema=S)
        op.create_check_constraint("c", "task", "hours < 900", schema=S)
        op.create_exclude_constraint("e", "task", ("hours", "="), using="btree", schema=S)
        op.drop_constraint("u", "task", type_="unique", schema=S)
        op.drop_constraint("c", "task", type_="check", schema=S)
        op.drop_constraint("e", "task", schema=S)
        op.drop_constraint("pk_task", "task", type_="primary", schema=S)
        op.drop_constraint(op.f("positive"), "task", type_="check", schema=S, if_exists=True)
        op.drop_constraint("fk_task_project_id_project", "task", type_="foreignkey", schema=S, if_exists=True)
        op.create_primary_key("own_key", "task", ["id"], schema=S)
    """,
    "indexes_of_all_kinds": """
        op.create_index("i_a", "task", ["title", sa.text("hours DESC")], schema=S, unique=True, postgresql_where="hours > 1")
        op.create_index("i_b", "task", [sa.func.lower(sa.column("title")), "id"], schema=S, postgresql_with={"fillfactor": 50})
        op.create_index("i_c", "task", ["title"], schema=S, postgresql_ops={"title": "varchar_pattern_ops"}, postgresql_using="btree")
        op.create_index(op.f("i_d"), "task", [sa.literal_column("(hours % 7)")], schema=S)
        op.create_index("I E", "task", ["title"], schema=S, postgresql_include=["hours", "id"], if_not_exists=True)
        op.create_index(None, "project", ["name", "id"], schema=S, unique=False, postgresql_concurrently=False)
        op.drop_index("i_a", table_name="task", schema=S)
        op.drop_index(op.f("i_d"), schema=S, if_exists=True)
    """,
}

TABLES = {
    "rename_table_and_all_that_it_has": """
        op.rename_table("project", "Project 2", schema=S)
        op.execute('ALTER INDEX pk_project RENAME TO "pk 2"')
        op.create_foreign_key(None, "task", "Project 2", ["hours"], ["id"], source_schema=S, referent_schema=S)
        op.bulk_insert(sa.table("Project 2", sa.column("id"), sa.column("name"), schema=S), [{"id": 50, "name": "fifty"}])
        op.add_column("Project 2", sa.Column("x", sa.Integer, index=True), schema=S)
        op.rename_table("Project 2", "project", schema=S)
        op.drop_column("project", "x", schema=S)
    """,
    "tables_with_options": """
        op.create_table("o", sa.Column("x", sa.Integer), schema=S)
        op.execute("ALTER TABLE o SET (fillfactor = 70)")
        op.execute("CREATE TABLE i (y int) INHERITS (o)")
        op.create_table("empty", schema=S)
        op.create_table("h", sa.Column("x", sa.Integer, primary_key=True), schema=S, postgresql_partition_by="HASH (x)", comment="parts")
        op.execute("CREATE TABLE h_0 PARTITION OF h FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
        op.create_table("l", sa.Column("x", sa.Integer, index=True), sa.Index("i_l", "x"), schema=S, prefixes=["UNLOGGED"])
        op.drop_table("o_missing", schema=S, if_exists=True)
        op.create_table_comment("l", None, existing_comment="x", schema=S)
        op.execute("DROP TABLE o CASCADE")
    """,
    "metadata_of_a_revision": """
        m = sa.MetaData(schema=S, naming_convention={"ix": "own_%(column_0_label)s", "pk": "own_%(table_name)s"})
        t = sa.Table("mine", m, sa.Column("id", sa.Integer, primary_key=True), sa.Column("x", sa.Text, index=True), sa.Column("p", sa.ForeignKey(f"{S}.project.id" if S else "project.id")))
        sa.Table("project", m, sa.Column("id", sa.Integer, primary_key=True))
        t.create(op.get_bind())
        t.create(op.get_bind(), checkfirst=True)
        op.get_bind().execute(sa.schema.CreateIndex(sa.Index("by_hand", t.c.x, t.c.id)))
        op.get_bind().execute(sa.schema.AddConstraint(sa.UniqueConstraint(t.c.x, name="by_hand_too")))
        op.get_bind().execute(t.insert().values(x="1", p=1).returning(t.c.id)).scalar_one()
    """,
    "add_and_drop_with_ddl": """
        t = sa.Table("task", sa.MetaData(schema=S), sa.Column("id", sa.Integer), sa.Column("title", sa.Text), sa.Column("hours", sa.Integer))
        op.execute(sa.schema.CreateIndex(sa.Index("x1", t.c.title)))
        op.execute(sa.schema.AddConstraint(sa.UniqueConstraint(t.c.hours, name="x2")))
        op.execute(sa.schema.SetTableComment(sa.Table("project", sa.MetaData(schema=S), comment="by DDL")))
        op.execute(sa.schema.DropIndex(sa.Index("x1", t.c.title), if_exists=True))
        op.execute(sa.DDL("ALTER TABLE task SET (fillfactor = 60)"))
        op.execute(sa.schema.CreateSequence(sa.Sequence("by_ddl", start=4, schema=S), if_not_exists=True))
        op.execute(sa.schema.DropSequence(sa.Sequence("by_ddl", schema=S)))
    """,
}

ROWS = {
    "inline_sql": """
        project = sa.table("project", sa.column("id", sa.Integer), sa.column("name", sa.String), schema=S)
        op.bulk_insert(project, [{"id": 30, "name": op.inline_literal("it's 100% :x")}, {"id": 31, "name": op.inline_literal("b")}], multiinsert=False)
        op.bulk_insert(project, [{"id": op.inline_literal(32), "name": sa.func.upper("c")}], multiinsert=False)
        op.bulk_insert(project, [])
        op.bulk_insert(project, [{"id": 33}, {"id": 34}])
        op.execute(project.update().where(project.c.name == op.inline_literal("b")).values({"name": op.inline_literal("B")}))
        op.execute(project.update().where(project.c.id == op.inline_literal(5, type_=sa.Integer)).values(name=sa.null()))
    """,
    "values_of_all_types": """
        import datetime, decimal, uuid
        made = op.create_table(
            "v", sa.Column("a", sa.Date), sa.Column("b", sa.DateTime(timezone=True)), sa.Column("c", sa.Numeric), sa.Column("d", sa.Uuid),
            sa.Column("e", postgresql.JSONB), sa.Column("f", sa.LargeBinary), sa.Column("g", postgresql.ARRAY(sa.Text)), sa.Column("h", sa.Interval),
            sa.Column("i", sa.Boolean), sa.Column("j", sa.Float), sa.Column("k", sa.Text), sa.Column("l", postgresql.INT4RANGE), schema=S,
        )
        row = dict(
            a=datetime.date(2026, 1, 2), b=datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone.utc), c=decimal.Decimal("1.20"),
            d=uuid.UUID(int=7), e={"x": [1, None, "%s :y"]}, f=b"\\x00\\xff'", g=["a'b", "c,d", None], h=datetime.timedelta(days=1, microseconds=3),
            i=True, j=1.5e-9, k="back\\\\slash \\n %(k)s :k é \\U0001F600", l=postgresql.Range(1, 4),
        )
        op.bulk_insert(made, [row, dict.fromkeys(row)])
        op.execute(made.insert().values(row))
        op.get_bind().execute(made.insert(), [row, row])
    """,
    "statements_of_core": """
        t = sa.table("task", *map(sa.column, ("id", "title", "hours", "project_id")), schema=S)
        p = sa.table("project", sa.column("id"), sa.column("name"), schema=S)
        op.execute(t.insert().from_select(["id", "title"], sa.select(p.c.id + 60, p.c.name).where(p.c.id < 9)))
        op.execute(t.update().where(t.c.id == p.c.id).values(title=p.c.name))
        op.execute(t.update().values(hours=sa.select(sa.func.count()).select_from(p).scalar_subquery()).where(sa.exists().where(p.c.id == t.c.id)))
        cte = sa.select(p.c.id).cte("found")
        op.execute(t.update().where(t.c.id.in_(sa.select(cte.c.id))).values(title=sa.case((t.c.hours > 0, "some"), else_="none")))
        op.execute(postgresql.insert(p).values(id=1, name="again").on_conflict_do_update(index_elements=["id"], set_={"name": "twice"}))
        op.execute(t.delete().where(t.c.project_id == p.c.id, p.c.name == "zzz"))
        op.execute(sa.text("UPDATE task SET title = :t WHERE id = :i").bindparams(sa.bindparam("t", "x:y"), i=1))
        a = t.alias("a")
        op.execute(t.update().where(t.c.id.in_(sa.select(a.c.id).where(a.c.title.like("%x%")))).values(hours=77))
        op.get_bind().execute(sa.text("INSERT INTO project (id, name) VALUES (:id, :name)"), [{"id": 70, "name": "m"}, {"id": 71, "name": "n"}])
        op.get_bind().execute(sa.values(sa.column("x", sa.Integer), name="v").data([(1,)]).select())
    """,
    "text_of_many_forms": '''
        op.execute("/* a; b */ INSERT INTO task (id, title) VALUES (80, 'a;b -- c'); -- end ; \\nINSERT INTO task (id) VALUES (81);")
        op.execute("INSERT INTO task (id, title) VALUES (82, $q$it's 100% $1 ::x$q$)")
        op.execute(sa.text(r"INSERT INTO task (id, title) VALUES (83, '\\:x' || $$ 5\\:6 $$)"))
        op.execute("with n as (insert into task (id) values (84) returning id) update project set name = 'w' from n where project.id = 1")
        op.execute("""DO $do$ BEGIN EXECUTE 'INSERT INTO task (id) VALUES (85)'; END $do$""")
        op.execute("MERGE INTO project p USING (VALUES (1, 'm'), (90, 'n')) AS v (id, name) ON p.id = v.id WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, v.name)")
        op.execute('CREATE TABLE "Odd ""name""" AS SELECT 1 AS "sel ect"')
        op.execute("SELECT set_config('my.setting', 'x', true)")
        op.execute("INSERT INTO task (id, title) VALUES (86, current_setting('my.setting', true))")
        op.execute("SELECT 1", execution_options={"autocommit": False})
        op.execute("CREATE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC INSERT INTO task (id) VALUES (87); END")
        op.execute("CALL p()")
    ''',
}

BLOCKS = {
    "nested_blocks": """
        with op.get_context().autocommit_block():
            op.execute("CREATE INDEX CONCURRENTLY n1 ON task (hours)")
        with op.get_context().autocommit_block():
            op.execute("ALTER TABLE task ADD COLUMN IF NOT EXISTS n2 int")
            op.create_index("n2", "task", ["n2"], schema=S, postgresql_concurrently=True, if_not_exists=True)
            op.drop_index("n1", "task", schema=S, postgresql_concurrently=True, if_exists=True)
        op.add_column("task", sa.Column("after", sa.Integer, index=True), schema=S)
    """,
    "savepoints": """
        bind = op.get_bind()
        with bind.begin_nested():
            op.execute("INSERT INTO task (id) VALUES (100)")
        try:
            with bind.begin_nested():
                op.execute("INSERT INTO task (id) VALUES (101)")
                op.execute("INSERT INTO task (id) VALUES (100)")
        except sa.exc.IntegrityError:
            op.execute("INSERT INTO task (id) VALUES (102)")
        op.execute("SAVEPOINT own")
        op.execute("INSERT INTO task (id) VALUES (103)")
        op.execute("ROLLBACK TO own")
        op.execute("RELEASE own")
    """,
    "batch_of_all_operations": """
        with op.batch_alter_table("task", schema=S, recreate="never") as batch:
            batch.add_column(sa.Column("b1", sa.Integer, sa.Identity()))
            batch.add_column(sa.Column("b2", sa.Text, unique=True, comment="b"), if_not_exists=True)
            batch.alter_column("title", server_default=None, comment="t", existing_type=sa.Text, nullable=True)
            batch.create_index("by_batch", [sa.text("lower(b2)")], unique=True, postgresql_where=sa.text("b1 > 0"))
            batch.create_index(batch.f("ix_raw"), ["b1"], if_not_exists=True)
            batch.drop_index("by_batch")
            batch.create_exclude_constraint("by_ex", ("b1", "="), using="btree")
            batch.create_foreign_key("fk_b", "task", ["b1"], ["id"], referent_schema=S, postgresql_not_valid=True)
            batch.create_unique_constraint("u_b", ["b1", "b2"], deferrable=True)
            batch.drop_constraint("u_b", type_="unique")
            batch.drop_table_comment(existing_comment="to do")
            batch.execute("INSERT INTO project (id) VALUES (110)")
        with op.batch_alter_table("project", schema=S, table_args=(sa.UniqueConstraint("name", "id"),), reflect_kwargs={"listeners": []}) as batch:
            batch.add_column(sa.Column("z", sa.Integer))
    """,
    "inspector_with_and_without_schema": """
        inspector = sa.inspect(op.get_bind())
        said = []
        for schema in (S, None) if S else (None,):
            said.append(sorted(inspector.get_table_names(schema=schema)))
            said.append([c["name"] for c in inspector.get_columns("task", schema=schema)])
            said.append(sorted((i["name"] or "").replace("ix_tenant_", "ix_") for i in inspector.get_indexes("task", schema=schema)))
            said.append(inspector.get_pk_constraint("task", schema=schema)["constrained_columns"])
            said.append(inspector.has_table("missing", schema=schema))
            said.append(inspector.has_table("country", schema="shared"))
            said.append([fk["referred_table"] for fk in inspector.get_foreign_keys("task", schema=schema)])
            said.append(inspector.get_sorted_table_and_fkc_names(schema=schema)[0][0])
            said.append(inspector.get_table_comment("task", schema=schema)["text"])
            said.append(inspector.get_temp_table_names() and 1)
            said.append(inspector.get_table_options("task", schema=schema))
        inspector.clear_cache()
        op.execute("CREATE TABLE later (x int)")
        said.append(inspector.has_table("later", schema=S))
        said.append(sa.inspect(op.get_bind()).has_table("later", schema=S))
        said.append("alembic_version" in inspector.get_table_names(schema=S))
        op.bulk_insert(sa.table("task", sa.column("id", sa.Integer), sa.column("title", sa.Text), schema=S), [{"id": 200 + n, "title": repr(each)} for n, each in enumerate(said)])
    """,
    "guards_of_many_kinds": """
        bind = op.get_bind()
        if bind.dialect.name == "postgresql" and bind.dialect.server_version_info >= (10,):
            op.execute("CREATE TABLE g1 ()")
        if bind.dialect.has_table(bind, "task", schema=S) and not bind.dialect.has_table(bind, "g2", schema=S):
            op.execute("CREATE TABLE g2 ()")
        if not bind.dialect.has_sequence(bind, "g3", schema=S):
            op.execute("CREATE SEQUENCE g3")
        if not bind.dialect.has_index(bind, "task", "g4", schema=S):
            op.create_index("g4", "task", ["hours"], schema=S)
        if bind.execute(sa.text("SELECT to_regclass('g1')")).scalar() is not None:
            op.execute("CREATE TABLE g5 ()")
        if bind.execute(sa.text("SELECT 1 FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'task' AND column_name = 'hours'")).scalar():
            op.execute("CREATE TABLE g6 ()")
        if not context_is_offline(op):
            op.execute("CREATE TABLE g7 ()")
        if bind.scalar(sa.select(sa.func.count()).select_from(sa.table("project", schema=S))) == 1:
            op.execute("CREATE TABLE g8 ()")
    """.replace("context_is_offline(op)", "op.get_context().as_sql"),
}
"""Blocks, batches and guards."""
