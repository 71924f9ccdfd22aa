"""A dashboard application: the placeholder everywhere, guards and early returns, models in revisions, JSON moved in Python."""

from __future__ import annotations

from tests.migrations.histories import read

CONVENTION = {"ix": "%(column_0_label)s_index", "uq": "uq_%(table_name)s_%(column_0_name)s"}
"""Other constraints have PostgreSQL's own names."""

IMPORTS = ""
STOPS = ("d22", "d17", "d12", "d01", "base")
ROWS = """
INSERT INTO users (name, email, groups) SELECT 'User ' || n, 'u' || n || '@example.com', ARRAY[1, n] FROM generate_series(1, 5) n;
INSERT INTO queries (name, query, options, user_id)
SELECT 'Q' || n, 'SELECT ''' || n || '%''', '{"parameters": [{"name": "p", "global": true}]}', n FROM generate_series(1, 5) n
"""

REVISIONS = read(r"""
### d01 < base
op.create_table("users", sa.Column("id", sa.Integer(), nullable=False), sa.Column("name", sa.String(320)), sa.Column("email", sa.String(255)), sa.Column("groups", postgresql.ARRAY(sa.Integer())), sa.PrimaryKeyConstraint("id"), sa.UniqueConstraint("email"), schema="tenant")
op.create_table("queries", sa.Column("id", sa.Integer(), nullable=False), sa.Column("name", sa.String(255)), sa.Column("query", sa.Text()), sa.Column("options", sa.Text()), sa.Column("user_id", sa.Integer()), sa.ForeignKeyConstraint(["user_id"], ["tenant.users.id"]), sa.PrimaryKeyConstraint("id"), schema="tenant")
--- down
op.drop_table("queries", schema="tenant")
op.drop_table("users", schema="tenant")

### d02 < d01
inspector = sa.inspect(op.get_bind())
if "api_key" in [column["name"] for column in inspector.get_columns("users", schema="tenant")]:
    return
op.add_column("users", sa.Column("api_key", sa.String(40), unique=True), schema="tenant")
op.execute("UPDATE users SET api_key = md5(email)")
--- down
op.drop_column("users", "api_key", schema="tenant")

### d03 < d02
if not sa.inspect(op.get_bind()).has_table("settings", schema="tenant"):
    op.create_table("settings", sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.Text), schema="tenant")
--- down
op.drop_table("settings", schema="tenant", if_exists=True)

### d04 < d03
import json
queries = sa.table("queries", sa.column("id", sa.Integer), sa.column("options", sa.Text), schema="tenant")
connection = op.get_bind()
for query in connection.execute(sa.select(queries.c.id, queries.c.options).order_by(queries.c.id)):
    options = json.loads(query.options)
    for parameter in options.get("parameters", []):
        parameter.pop("global")
    connection.execute(queries.update().where(queries.c.id == query.id).values(options=json.dumps(options)))
--- down
pass

### d05 < d04
op.alter_column("queries", "options", type_=postgresql.JSONB(astext_type=sa.Text()), existing_type=sa.Text(), postgresql_using="options::jsonb", nullable=True, server_default=sa.text("'{}'::jsonb"), schema="tenant")
--- down
op.alter_column("queries", "options", type_=sa.Text(), existing_type=postgresql.JSONB(astext_type=sa.Text()), server_default=None, schema="tenant")

### d06 < d05
from sqlalchemy.orm import DeclarativeBase, Session, relationship
class Base(DeclarativeBase):
    metadata = sa.MetaData(schema="tenant")
class Dashboard(Base):
    __tablename__ = "dashboards"
    id = sa.Column(sa.Integer, primary_key=True)
    slug = sa.Column(sa.String(140), index=True, nullable=False)
    layout = sa.Column(sa.Text)
    widgets = relationship("Widget", order_by="Widget.id")
class Widget(Base):
    __tablename__ = "widgets"
    id = sa.Column(sa.Integer, primary_key=True)
    dashboard_id = sa.Column(sa.ForeignKey("tenant.dashboards.id"), index=True)
    text = sa.Column(sa.Text)
Base.metadata.create_all(op.get_bind())
with Session(op.get_bind()) as session:
    session.add_all([Dashboard(slug=f"d{n}", layout=f"[[{n}]]", widgets=[Widget(text=f"w{n}"), Widget(text="100%")]) for n in range(3)])
    session.commit()
--- down
op.drop_table("widgets", schema="tenant")
op.drop_table("dashboards", schema="tenant")

### d07 < d06
dashboards = sa.Table("dashboards", sa.MetaData(), schema="tenant", autoload_with=op.get_bind())
widgets = sa.Table("widgets", dashboards.metadata, schema="tenant", autoload_with=op.get_bind())
op.add_column("widgets", sa.Column("options", sa.Text), schema="tenant")
joined = sa.select(widgets.c.id, dashboards.c.layout).select_from(widgets.join(dashboards)).order_by(widgets.c.id)
for id_, layout in op.get_bind().execute(joined).fetchall():
    op.get_bind().execute(sa.text("UPDATE widgets SET options = :options WHERE id = :id").bindparams(options=layout, id=id_))
op.drop_column("dashboards", "layout", schema="tenant")
--- down
op.add_column("dashboards", sa.Column("layout", sa.Text), schema="tenant")
op.drop_column("widgets", "options", schema="tenant")

### d08 < d07
op.create_table("notification_destinations", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("user_id", sa.Integer(), sa.ForeignKey("tenant.users.id"), nullable=False), sa.Column("name", sa.String(255), nullable=False), sa.UniqueConstraint("name", "user_id", name="by_name"), sa.Index("notification_destinations_user_name", "user_id", "name", unique=True), schema="tenant")
--- down
op.drop_table("notification_destinations", schema="tenant")

### d09 < d08
op.create_index(None, "queries", ["user_id"], schema="tenant")
op.create_index("queries_by_name", "queries", [sa.text("lower(name)")], postgresql_where=sa.text("name IS NOT NULL"), schema="tenant")
--- down
op.drop_index("queries_by_name", schema="tenant")
op.drop_index("tenant_queries_user_id_index", table_name="queries", schema="tenant")

### d10 < d09
state = sa.Enum("draft", "live", name="state", schema="tenant")
state.create(op.get_bind(), checkfirst=True)
op.add_column("dashboards", sa.Column("state", state, nullable=True), schema="tenant")
op.execute("UPDATE dashboards SET state = 'draft'")
op.alter_column("dashboards", "state", nullable=False, existing_type=state, schema="tenant")
--- down
op.drop_column("dashboards", "state", schema="tenant")
sa.Enum(name="state", schema="tenant").drop(op.get_bind(), checkfirst=True)

### d11 < d10
old = sa.Enum("draft", "live", name="state", schema="tenant")
new = sa.Enum("draft", "published", "archived", name="state", schema="tenant")
op.alter_column("dashboards", "state", type_=sa.String, existing_type=old, schema="tenant")
old.drop(op.get_bind())
op.execute("UPDATE dashboards SET state = 'published' WHERE slug = 'd1'")
new.create(op.get_bind())
op.alter_column("dashboards", "state", type_=new, existing_type=sa.String, postgresql_using="state::state", server_default="draft", schema="tenant")
--- down
op.execute("ALTER TABLE dashboards ALTER COLUMN state DROP DEFAULT, ALTER COLUMN state TYPE text")
op.execute("UPDATE dashboards SET state = 'draft'")
op.execute("DROP TYPE state")
op.execute("CREATE TYPE state AS ENUM ('draft', 'live')")
op.execute("ALTER TABLE dashboards ALTER COLUMN state TYPE state USING state::state")

### d12 < d11
constraints = sa.inspect(op.get_bind()).get_unique_constraints("users", schema="tenant")
for constraint in constraints:
    if constraint["column_names"] == ["email"]:
        op.drop_constraint(constraint["name"], "users", type_="unique", schema="tenant")
op.create_unique_constraint(None, "users", ["email"], schema="tenant")
op.create_index("users_email_name", "users", ["email", "name"], unique=True, schema="tenant")
--- down
op.drop_index("users_email_name", table_name="users", schema="tenant")

### d13 < d12 | branch_labels = ('alerts',)
op.create_table("alerts", sa.Column("id", sa.Integer, primary_key=True), sa.Column("query_id", sa.Integer, sa.ForeignKey("tenant.queries.id", ondelete="CASCADE"), index=True), schema="tenant")
--- down
op.drop_table("alerts", schema="tenant")

### d14 < d13
op.add_column("alerts", sa.Column("rearm", sa.Integer, sa.CheckConstraint("rearm > 0")), schema="tenant")
--- down
op.drop_column("alerts", "rearm", schema="tenant")

### d15 < d12
op.execute("ALTER TABLE queries ADD COLUMN tags text[], ADD COLUMN version int NOT NULL DEFAULT 1")
op.execute("CREATE INDEX queries_tags ON queries USING gin (tags)")
--- down
op.execute("ALTER TABLE queries DROP COLUMN tags, DROP COLUMN version")

### d16 < d15 | depends_on = ('d13',)
op.add_column("alerts", sa.Column("options", postgresql.JSON(astext_type=sa.Text())), schema="tenant")
--- down
op.drop_column("alerts", "options", schema="tenant")

### d17 < d14, d16
op.execute("INSERT INTO alerts (query_id, rearm, options) SELECT id, id, '{}' FROM queries ORDER BY id")
--- down
op.execute("DELETE FROM alerts")

### d18 < d17
bind = op.get_bind()
counts = {user: count for user, count in bind.execute(sa.text("SELECT user_id, count(*) FROM queries GROUP BY 1 ORDER BY 1"))}
if not counts:
    return
op.add_column("users", sa.Column("queries", sa.SmallInteger), schema="tenant")
for user, count in counts.items():
    bind.exec_driver_sql("UPDATE users SET queries = %s WHERE id = %s", (count, user))
--- down
if "queries" in [column["name"] for column in sa.inspect(op.get_bind()).get_columns("users", "tenant")]:
    op.drop_column("users", "queries", schema="tenant")

### d19 < d18
op.create_foreign_key(None, "alerts", "users", ["rearm"], ["id"], source_schema="tenant", referent_schema="tenant", ondelete="SET NULL")
op.create_check_constraint("named", "users", "name <> ''", schema="tenant", postgresql_not_valid=True)
op.execute("ALTER TABLE users VALIDATE CONSTRAINT named")
--- down
op.drop_constraint("named", "users", schema="tenant")
op.drop_constraint("alerts_rearm_fkey", "alerts", schema="tenant", type_="foreignkey")

### d20 < d19
with op.batch_alter_table("dashboards", schema="tenant") as batch_op:
    batch_op.add_column(sa.Column("user_id", sa.Integer(), nullable=True))
    batch_op.create_foreign_key("of_user", "users", ["user_id"], ["id"], referent_schema="tenant")
    batch_op.alter_column("slug", existing_type=sa.String(140), type_=sa.String(200), nullable=True)
--- down
with op.batch_alter_table("dashboards", schema="tenant") as batch_op:
    batch_op.alter_column("slug", existing_type=sa.String(200), type_=sa.String(140), nullable=False)
    batch_op.drop_constraint("of_user", type_="foreignkey")
    batch_op.drop_column("user_id")

### d21 < d20
op.execute("CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.version := OLD.version + 1; RETURN NEW; END'")
op.execute("CREATE TRIGGER bump BEFORE UPDATE ON queries FOR EACH ROW EXECUTE PROCEDURE bump()")
op.execute(sa.update(sa.table("queries", sa.column("name"), schema="tenant")).values(name=sa.func.upper(sa.column("name"))))
--- down
op.execute("DROP TRIGGER bump ON queries; DROP FUNCTION bump()")

### d22 < d21
with op.get_context().autocommit_block():
    op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS queries_version ON queries (version)")
--- down
with op.get_context().autocommit_block():
    op.execute("DROP INDEX CONCURRENTLY IF EXISTS queries_version")

### d23 < d22
op.rename_table("widgets", "tiles", schema="tenant")
op.execute("ALTER SEQUENCE widgets_id_seq RENAME TO tiles_id_seq")
op.drop_index(op.f("tenant_widgets_dashboard_id_index"), table_name="tiles", schema="tenant", if_exists=True)
op.drop_index(op.f("ix_tenant_widgets_dashboard_id"), table_name="tiles", schema="tenant", if_exists=True)
op.create_index(None, "tiles", ["dashboard_id"], schema="tenant")
--- down
op.drop_index("tenant_tiles_dashboard_id_index", schema="tenant")
op.execute("ALTER SEQUENCE tiles_id_seq RENAME TO widgets_id_seq")
op.rename_table("tiles", "widgets", schema="tenant")

### d24 < d23
tables = sa.MetaData(schema="tenant")
tables.reflect(op.get_bind(), only=lambda name, _: name != "alembic_version")
rows = op.get_bind().execute(sa.select(sa.func.count()).select_from(tables.tables["tenant.tiles"].join(tables.tables["tenant.dashboards"]))).scalar_one()
op.bulk_insert(tables.tables["tenant.settings"], [{"key": "tiles", "value": str(rows)}, {"key": "tables", "value": str(sorted(tables.tables))}])
--- down
op.execute("DELETE FROM settings WHERE key IN ('tiles', 'tables')")

### d25 < d24 | BATCH = 2
bind, last = op.get_bind(), 0
while ids := bind.execute(sa.text("SELECT id FROM queries WHERE id > :last ORDER BY id LIMIT :batch"), {"last": last, "batch": BATCH}).scalars().all():
    bind.execute(sa.text("UPDATE queries SET tags = ARRAY['t' || id] WHERE id = ANY(:ids)"), {"ids": list(ids)})
    last = ids[-1]
--- down
op.execute("UPDATE queries SET tags = NULL")

### d26 < d25
op.alter_column("settings", "value", comment="it's 100%", existing_type=sa.Text, schema="tenant")
op.create_table("groups", sa.Column("id", sa.Uuid, primary_key=True, server_default=sa.text("gen_random_uuid()")), sa.Column("permissions", postgresql.ARRAY(sa.String), server_default="{view,edit}"), sa.Column("span", postgresql.INT4RANGE), schema="tenant")
--- down
op.drop_table("groups", schema="tenant")
op.alter_column("settings", "value", comment=None, existing_type=sa.Text, schema="tenant")

### d27 < d26
op.execute("CREATE VIEW live AS SELECT d.slug, t.text FROM dashboards d JOIN tiles t ON t.dashboard_id = d.id WHERE d.state = 'published'")
op.execute("COMMENT ON VIEW live IS 'what is seen'")
op.execute("ALTER TABLE queries CLUSTER ON queries_pkey, SET (fillfactor = 70)")
--- down
op.execute("ALTER TABLE queries SET WITHOUT CLUSTER, RESET (fillfactor)")
op.execute("DROP VIEW live")
""")
