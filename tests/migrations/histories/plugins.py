"""An application with operations as alembic_utils and alembic-postgresql-enum write them."""

from __future__ import annotations

from tests.migrations.histories import read

CONVENTION = {"ix": "ix_%(column_0_label)s", "uq": "uq_%(table_name)s_%(column_0_name)s"}
IMPORTS = "import alembic_postgresql_enum"
STOPS = ("p08", "p04", "p01", "base")
ROWS = """
INSERT INTO account (name, state) SELECT 'Account ' || n, (ARRAY['new', 'old'])[1 + n % 2]::state FROM generate_series(1, 4) n
"""

REVISIONS = read(r"""
### p01 < base
sa.Enum("new", "old", name="state", schema="tenant").create(op.get_bind())
op.create_table("account", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text, index=True), sa.Column("state", postgresql.ENUM("new", "old", name="state", schema="tenant", create_type=False), server_default="new"), schema="tenant")
--- down
op.drop_table("account", schema="tenant")
sa.Enum("new", "old", name="state", schema="tenant").drop(op.get_bind())

### p02 < p01
from alembic_utils.pg_function import PGFunction
tenant_shout = PGFunction(schema="tenant", signature="shout(name text)", definition="returns text language sql immutable AS $$ SELECT upper(name) $$")
op.create_entity(tenant_shout)
--- down
from alembic_utils.pg_function import PGFunction
op.drop_entity(PGFunction(schema="tenant", signature="shout(name text)", definition="returns text language sql immutable AS $$ SELECT upper(name) $$"))

### p03 < p02
from alembic_utils.pg_function import PGFunction
op.replace_entity(PGFunction(schema="tenant", signature="shout(name text)", definition="returns text language sql immutable AS $$ SELECT upper(name) || '!' $$"))
op.execute("UPDATE account SET name = shout(name) WHERE state = 'new'")
--- down
from alembic_utils.pg_function import PGFunction
op.replace_entity(PGFunction(schema="tenant", signature="shout(name text)", definition="returns text language sql immutable AS $$ SELECT upper(name) $$"))

### p04 < p03
from alembic_utils.pg_view import PGView
op.create_entity(PGView(schema="tenant", signature="loud", definition="select id, shout(name) AS name from account where state = 'new'"))
--- down
from alembic_utils.pg_view import PGView
op.drop_entity(PGView(schema="tenant", signature="loud", definition="# not required for op"))

### p05 < p04
from alembic_utils.pg_function import PGFunction
from alembic_utils.pg_trigger import PGTrigger
op.create_entity(PGFunction(schema="tenant", signature="touch()", definition="returns trigger language plpgsql AS $$ BEGIN NEW.name := NEW.name || '.'; RETURN NEW; END $$"))
op.create_entity(PGTrigger(schema="tenant", signature="touch", on_entity="tenant.account", definition="BEFORE INSERT ON account FOR EACH ROW EXECUTE PROCEDURE touch()"))
op.execute("INSERT INTO account (name) VALUES ('touched')")
--- down
from alembic_utils.pg_function import PGFunction
from alembic_utils.pg_trigger import PGTrigger
op.execute("DELETE FROM account WHERE name LIKE 'touched%'")
op.drop_entity(PGTrigger(schema="tenant", signature="touch", on_entity="tenant.account", definition="BEFORE INSERT ON account FOR EACH ROW EXECUTE PROCEDURE touch()"))
op.drop_entity(PGFunction(schema="tenant", signature="touch()", definition="# not required for op"))

### p06 < p05
from alembic_utils.pg_materialized_view import PGMaterializedView
from alembic_utils.pg_policy import PGPolicy
op.create_entity(PGMaterializedView(schema="tenant", signature="states", definition="select name, count(*) from account group by 1", with_data=True))
op.create_index(None, "states", ["name"], unique=True, schema="tenant")
op.create_entity(PGPolicy(schema="tenant", signature="mine", on_entity="tenant.account", definition="for select using (id > 0)"))
--- down
from alembic_utils.pg_materialized_view import PGMaterializedView
from alembic_utils.pg_policy import PGPolicy
op.drop_entity(PGPolicy(schema="tenant", signature="mine", on_entity="tenant.account", definition=""))
op.drop_entity(PGMaterializedView(schema="tenant", signature="states", definition=""))

### p07 < p06
op.execute("CREATE TYPE size AS ENUM ('s', 'm')")
op.execute("ALTER TABLE account ADD COLUMN size size DEFAULT 's', ADD COLUMN sizes size[] DEFAULT '{s,m}'")
op.create_index("ix_size", "account", ["size"], postgresql_where=sa.text("size = 'm'"), schema="tenant")
--- down
op.drop_column("account", "size", schema="tenant")
op.drop_column("account", "sizes", schema="tenant")
op.execute("DROP TYPE size")

### p08 < p07
from alembic_postgresql_enum import ColumnType, TableReference
from alembic_postgresql_enum.sql_commands.indexes import TableIndex
op.sync_enum_values(
    enum_schema="tenant",
    enum_name="size",
    new_values=["small", "m", "l"],
    affected_columns=[
        TableReference(table_schema="tenant", table_name="account", column_name="size", existing_server_default="'s'::tenant.size"),
        TableReference(table_schema="tenant", table_name="account", column_name="sizes", column_type=ColumnType.ARRAY, existing_server_default="ARRAY['s'::tenant.size, 'm'::tenant.size]"),
    ],
    enum_values_to_rename=[("s", "small")],
    indexes_to_recreate=[TableIndex(name="ix_size", definition="CREATE INDEX ix_size ON account USING btree (size) WHERE (size = 'm'::size)")],
)
--- down
from alembic_postgresql_enum import TableReference
op.execute("ALTER TABLE account ALTER sizes DROP DEFAULT, ALTER sizes TYPE text[]; DROP INDEX ix_size")
op.sync_enum_values(enum_schema="tenant", enum_name="size", new_values=["s", "m"], affected_columns=[("account", "size")], enum_values_to_rename=[("small", "s")])
op.execute("UPDATE account SET sizes = array_replace(sizes, 'small', 's')")
op.execute("ALTER TABLE account ALTER sizes TYPE size[] USING sizes::size[], ALTER sizes SET DEFAULT '{s,m}'")
op.create_index("ix_size", "account", ["size"], postgresql_where=sa.text("size = 'm'"), schema="tenant")

### p09 < p08
op.add_enum_value(enum_schema="tenant", enum_name="state", new_value="gone")
--- down
pass

### p10 < p09
op.execute("INSERT INTO account (name, state) VALUES ('x', 'old')")
--- down
op.execute("DELETE FROM account WHERE name = 'x.'")
""")
