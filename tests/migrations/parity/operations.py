"""Revisions of each of Alembic's own operations, with given names, without names, and with a naming convention.

`S` is the schema in a revision: the placeholder or none.
"""

from __future__ import annotations

CONVENTION = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

BASE = """
op.create_table("project", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50), unique=True), schema=S)
op.create_table(
    "task",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project_id", sa.Integer, sa.ForeignKey(f"{S}.project.id" if S else "project.id")),
    sa.Column("title", sa.Text, server_default=sa.text("'none'"), nullable=False, index=True),
    sa.Column("hours", sa.Integer, sa.CheckConstraint("hours > 0", name="positive")),
    comment="to do",
    schema=S,
)
op.bulk_insert(sa.table("project", sa.column("id", sa.Integer), sa.column("name"), schema=S), [{"id": 1, "name": "a"}])
op.bulk_insert(sa.table("task", sa.column("id", sa.Integer), sa.column("title"), schema=S), [{"id": 1, "title": "t"}])
"""

TABLES = {
    "create_table_with_names_by_convention": """
        op.create_table(
            "note",
            sa.Column("id", sa.BigInteger, sa.Identity(always=True, start=10, increment=5), primary_key=True),
            sa.Column("project_id", sa.Integer, sa.ForeignKey(f"{S}.project.id" if S else "project.id", ondelete="CASCADE")),
            sa.Column("slug", sa.Text, unique=True, index=True),
            sa.Column("code", sa.Text, index=True),
            sa.Column("size", sa.Integer, sa.Computed("length(slug)", persisted=True)),
            sa.CheckConstraint("size > 0", name="size"),
            sa.CheckConstraint("size > 0", name=op.f("as_it_is")),
            sa.UniqueConstraint("slug", "code"),
            sa.Index(None, "slug", "code"),
            sa.Index("own", "code", postgresql_where=sa.text("code > 'a'"), postgresql_include=["slug"]),
            comment="what people say",
            schema=S,
        )
    """,
    "create_table_of_its_own_kind": """
        op.create_table("p", sa.Column("k", sa.Integer), sa.Column("v", sa.Boolean), schema=S, postgresql_partition_by="RANGE (k)")
        op.execute("CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
        op.create_table("u", sa.Column("k", sa.Integer), schema=S, prefixes=["UNLOGGED"])
        op.create_table("q", sa.Column("Odd Name", sa.Text, primary_key=True), sa.Column("select", sa.Text), schema=S)
    """,
    "create_table_that_is_there": """
        op.create_table("task", sa.Column("other", sa.Integer), schema=S, if_not_exists=True)
        op.drop_table("not_there", schema=S, if_exists=True)
        op.create_table("n", sa.Column("x", sa.Integer, index=True), schema=S, if_not_exists=True)
    """,
    "create_table_returns_what_can_be_filled": """
        made = op.create_table("n", sa.Column("x", sa.Integer, primary_key=True), sa.Column("y", sa.Text), schema=S)
        op.bulk_insert(made, [{"x": 1, "y": "it's"}, {"x": 2, "y": None}])
        op.execute(made.update().where(made.c.x == 2).values(y="two"))
    """,
    "create_table_with_cycle": """
        op.create_table("a", sa.Column("id", sa.Integer, primary_key=True), sa.Column("b", sa.Integer), schema=S)
        op.create_table("b", sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.Integer), schema=S)
        op.create_foreign_key(None, "a", "b", ["b"], ["id"], source_schema=S, referent_schema=S, use_alter=True, deferrable=True)
        op.create_foreign_key(None, "b", "a", ["a"], ["id"], source_schema=S, referent_schema=S, initially="DEFERRED", deferrable=True)
    """,
    "drop_table": 'op.drop_table("task", schema=S); op.drop_table("project", schema=S)',
    "rename_table": """
        op.rename_table("task", "job", schema=S)
        op.create_index(None, "job", ["hours"], schema=S)
        op.alter_column("job", "hours", new_column_name="effort", schema=S)
        op.execute("INSERT INTO job (id) VALUES (4)")
    """,
    "rename_table_and_take_its_name": """
        op.rename_table("task", "old", schema=S)
        op.create_table("task", sa.Column("number", sa.Integer), sa.Column("title", sa.Text), schema=S)
        op.execute("INSERT INTO task SELECT id, title FROM old")
    """,
    "create_table_comment": """op.create_table_comment("project", "it's 100%", schema=S)""",
    "drop_table_comment": 'op.drop_table_comment("task", schema=S, existing_comment="to do")',
}

COLUMNS = {
    "add_column_with_names_by_convention": """
        op.add_column("task", sa.Column("a", sa.Integer, sa.ForeignKey(f"{S}.project.id" if S else "project.id")), schema=S)
        op.add_column("task", sa.Column("b", sa.Text, unique=True), schema=S)
        op.add_column("task", sa.Column("c", sa.Text, index=True), schema=S)
        op.add_column("task", sa.Column("d", sa.Integer, sa.CheckConstraint("d > 1", name="d")), schema=S)
        op.add_column("task", sa.Column("e", sa.Integer, sa.Identity(start=7)), schema=S)
        op.add_column("task", sa.Column("f", sa.Integer, sa.Computed("hours * 2", persisted=True), comment="it's 100%"), schema=S)
    """,
    "add_column_that_is_there": """
        op.add_column("task", sa.Column("hours", sa.Text), schema=S, if_not_exists=True)
        op.add_column("task", sa.Column("new", sa.Text), schema=S, if_not_exists=True)
        op.drop_column("task", "not_there", schema=S, if_exists=True)
    """,
    "add_column_that_refers_to_shared": """
        op.add_column("task", sa.Column("country", sa.Text, sa.ForeignKey("shared.country.code")), schema=S)
    """,
    "add_serial": 'op.add_column("task", sa.Column("n", sa.Integer, sa.Sequence("n_seq", schema=S), server_default=sa.text("7")), schema=S)',
    "add_serial_key": """
        op.drop_constraint("pk_task", "task", schema=S, type_="primary")
        op.drop_column("task", "id", schema=S)
        op.add_column("task", sa.Column("key", sa.Integer, primary_key=True, autoincrement=True), schema=S, inline_references=True)
    """,
    "alter_column": """
        op.alter_column("task", "hours", type_=sa.Numeric(8, 2), existing_type=sa.Integer, server_default="7", comment="spent", schema=S)
        op.alter_column("task", "title", server_default=None, new_column_name="name", existing_type=sa.Text, type_=sa.String(80), schema=S)
        op.alter_column("project", "name", nullable=False, existing_type=sa.String(50), schema=S)
    """,
    "alter_column_with_using": """
        op.alter_column("task", "title", server_default=None, schema=S)
        op.alter_column("task", "title", type_=sa.Integer, existing_type=sa.Text, postgresql_using="length(title)", schema=S)
    """,
    "alter_column_identity": """
        op.alter_column("task", "id", server_default=None, existing_type=sa.Integer, schema=S)
        op.alter_column("task", "id", server_default=sa.Identity(start=20), existing_type=sa.Integer, schema=S)
        op.alter_column("task", "id", server_default=sa.Identity(start=20, increment=2, always=True), existing_server_default=sa.Identity(start=20), existing_type=sa.Integer, schema=S)
    """,
    "drop_column": 'op.drop_column("task", "hours", schema=S); op.drop_column("task", "project_id", schema=S)',
    "drop_column_cascade": """
        op.execute("CREATE VIEW v AS SELECT hours FROM task")
        op.execute("DROP VIEW v")
        op.drop_column("task", "title", schema=S, mssql_drop_check=True)
    """,
}

CONSTRAINTS = {
    "create_unique_constraint": """
        op.create_unique_constraint(None, "task", ["title", "hours"], schema=S)
        op.create_unique_constraint("own", "task", ["title", "id"], schema=S, postgresql_nulls_not_distinct=True)
        op.create_unique_constraint(op.f("as_it_is"), "project", ["name", "id"], schema=S, deferrable=True, initially="DEFERRED")
    """,
    "create_check_constraint": """
        op.create_check_constraint("hours", "task", sa.column("hours") > 0, schema=S)
        op.create_check_constraint(op.f("as_it_is"), "task", "hours < 100", schema=S)
        op.create_check_constraint("late", "task", "hours < 200", schema=S, postgresql_not_valid=True)
    """,
    "create_foreign_key": """
        op.create_foreign_key(None, "task", "project", ["hours"], ["id"], source_schema=S, referent_schema=S, onupdate="CASCADE", match="FULL")
        op.create_foreign_key("own", "task", "project", ["hours"], ["id"], source_schema=S, referent_schema=S, postgresql_not_valid=True)
        op.create_foreign_key(None, "task", "country", ["title"], ["code"], source_schema=S, referent_schema="shared", postgresql_not_valid=True)
    """,
    "create_foreign_key_to_itself": """
        op.add_column("task", sa.Column("parent", sa.Integer), schema=S)
        op.create_foreign_key(None, "task", "task", ["parent"], ["id"], source_schema=S, referent_schema=S)
    """,
    "create_exclude_constraint": """
        op.create_exclude_constraint("ex", "task", (sa.column("hours"), "="), using="btree", where=sa.column("hours") > 5, schema=S)
    """,
    "create_primary_key": """
        op.drop_constraint("pk_task", "task", schema=S)
        op.create_primary_key(None, "task", ["id", "title"], schema=S)
    """,
    "drop_constraint": """
        op.drop_constraint("positive", "task", schema=S, type_="check")
        op.drop_constraint(op.f("uq_project_name"), "project", schema=S, type_="unique")
        op.drop_constraint("fk_task_project_id_project", "task", schema=S, type_="foreignkey")
        op.drop_constraint("not_there", "task", schema=S, if_exists=True)
    """,
}

INDEXES = {
    "create_index": """
        op.create_index(None, "task", ["hours"], schema=S)
        op.create_index(None, "task", ["title", "hours"], schema=S, unique=True)
        op.create_index(op.f("as_it_is"), "task", [sa.text("lower(title)")], schema=S)
        op.create_index("own", "task", ["title", sa.text("hours DESC NULLS LAST")], schema=S, postgresql_include=["id"])
        op.create_index("own", "task", ["title"], schema=S, if_not_exists=True)
    """,
    "create_index_with_options": """
        op.create_index("w", "task", ["title"], schema=S, postgresql_where=sa.text("hours > 1"), postgresql_using="hash")
        op.create_index("o", "task", ["title"], schema=S, postgresql_ops={"title": "text_pattern_ops"}, postgresql_with={"fillfactor": 60})
        op.create_index("n", "task", ["hours"], schema=S, unique=True, postgresql_nulls_not_distinct=True)
        op.create_index("b", "task", ["hours"], schema=S, postgresql_using="brin", postgresql_tablespace="pg_default")
    """,
    "drop_index": """
        op.drop_index(f"ix_{S}_task_title" if S else "ix_task_title", "task", schema=S)
        op.create_index("other", "task", ["hours"], schema=S)
        op.drop_index("other", schema=S)
        op.drop_index("not_there", "task", schema=S, if_exists=True)
    """,
}

TYPES = {
    "enums": """
        mood = sa.Enum("good", "bad", name="mood", schema=S)
        op.create_table("e", sa.Column("m", mood, server_default="good"), schema=S)
        postgresql.ENUM("x", "y", name="other", schema=S).create(op.get_bind(), checkfirst=True)
        op.add_column("task", sa.Column("o", postgresql.ENUM("x", "y", name="other", schema=S, create_type=False)), schema=S)
        op.add_column("task", sa.Column("os", postgresql.ARRAY(postgresql.ENUM("x", "y", name="other", schema=S, create_type=False))), schema=S)
    """,
    "enum_renamed_and_made_again": """
        op.execute("CREATE TYPE state AS ENUM ('new', 'done')")
        op.execute("ALTER TABLE task ADD COLUMN state state DEFAULT 'new'")
        op.execute("ALTER TYPE state RENAME TO state_old")
        sa.Enum("new", "doing", "done", name="state", schema=S).create(op.get_bind())
        op.alter_column("task", "state", server_default=None, schema=S)
        op.execute("ALTER TABLE task ALTER COLUMN state TYPE state USING state::text::state")
        op.execute("DROP TYPE state_old")
        op.alter_column("task", "state", server_default="doing", schema=S)
    """,
    "enum_dropped": """
        mood = sa.Enum("good", "bad", name="mood", schema=S)
        mood.create(op.get_bind())
        mood.create(op.get_bind(), checkfirst=True)
        mood.drop(op.get_bind(), checkfirst=True)
        mood.drop(op.get_bind(), checkfirst=True)
    """,
    "domain": """
        email = postgresql.DOMAIN("email", sa.Text, check="VALUE LIKE '%@%'", schema=S)
        op.create_table("d", sa.Column("e", email), schema=S)
    """,
    "sequence": """
        op.execute(sa.schema.CreateSequence(sa.Sequence("numbers", start=5, increment=2, schema=S)))
        op.execute("ALTER TABLE task ALTER COLUMN hours SET DEFAULT nextval('numbers')")
        op.execute("INSERT INTO task (id) VALUES (2)")
    """,
    "sequence_of_metadata": """
        m = sa.MetaData(schema=S)
        t = sa.Table("s", m, sa.Column("id", sa.Integer, sa.Sequence("s_seq", start=3, metadata=m), primary_key=True), sa.Column("x", sa.Text, index=True))
        m.create_all(op.get_bind())
        op.get_bind().execute(t.insert(), [{"x": "a"}, {"x": "b"}])
        op.bulk_insert(t, [{"id": 9, "x": "c"}])
    """,
}
