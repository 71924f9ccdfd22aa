"""An incident application: tables without a schema, ORM sessions, reflection, loops, replaced ENUMs, merges."""

from __future__ import annotations

from tests.migrations.histories import read

CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

IMPORTS = ""
STOPS = ("i20", "i12", "i07", "i01", "base")
ROWS = """
INSERT INTO individual (name, email) SELECT 'Person ' || n, 'p' || n || '@example.com' FROM generate_series(1, 7) n;
INSERT INTO incident (title, visibility, reporter_id, data)
SELECT 'It''s 100% ' || n, (ARRAY['Open', 'Restricted'])[1 + n % 2]::visibility, n, json_build_object('n', n, 'tags', 'a,b')
FROM generate_series(1, 7) n
"""

REVISIONS = read(r'''
### i01 < base
op.create_table("individual", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String, nullable=False), sa.Column("email", sa.String(120), unique=True))
op.create_table(
    "incident",
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("title", sa.String, index=True),
    sa.Column("visibility", sa.Enum("Open", "Restricted", name="visibility"), server_default="Open"),
    sa.Column("reporter_id", sa.Integer, sa.ForeignKey("individual.id")),
    sa.Column("data", sa.JSON),
    sa.CheckConstraint("title <> ''", name="title"),
)
--- down
op.drop_table("incident")
op.drop_table("individual")
op.execute("DROP TYPE visibility")

### i02 < i01
op.create_index(op.f("ix_incident_reporter_id"), "incident", ["reporter_id"])
op.create_unique_constraint(None, "individual", ["name", "email"])
op.create_index(None, "individual", ["name"])
--- down
op.drop_index("ix_individual_name", "individual")
op.drop_constraint("uq_individual_name_email", "individual")
op.drop_index(op.f("ix_incident_reporter_id"), table_name="incident")

### i03 < i02
from sqlalchemy.orm import Session, declarative_base
Base = declarative_base()
class Incident(Base):
    __tablename__ = "incident"
    id = sa.Column(sa.Integer, primary_key=True)
    title = sa.Column(sa.String)
    name = sa.Column(sa.String)
op.add_column("incident", sa.Column("name", sa.String(60), unique=True))
bind = op.get_bind()
session = Session(bind=bind)
for incident in session.query(Incident).order_by(Incident.id).all():
    incident.name = f"incident-{incident.id:03}"
session.flush()
session.commit()
--- down
op.drop_column("incident", "name")

### i04 < i03
op.execute("CREATE TYPE status AS ENUM ('Active', 'Stable')")
op.execute("ALTER TABLE incident ADD COLUMN status status NOT NULL DEFAULT 'Active'")
op.execute("UPDATE incident SET status = 'Stable' WHERE id % 3 = 0")
--- down
op.drop_column("incident", "status")
op.execute("DROP TYPE status")

### i05 < i04
op.execute("ALTER TYPE status RENAME TO status_old")
status = postgresql.ENUM("Active", "Stable", "Closed", name="status")
status.create(op.get_bind(), checkfirst=False)
op.execute("ALTER TABLE incident ALTER COLUMN status DROP DEFAULT")
op.alter_column("incident", "status", type_=status, existing_nullable=False, postgresql_using="status::text::status")
op.alter_column("incident", "status", server_default="Active")
op.execute("DROP TYPE status_old")
--- down
op.execute("ALTER TABLE incident ALTER COLUMN status DROP DEFAULT, ALTER COLUMN status TYPE text")
op.execute("DROP TYPE status")
op.execute("CREATE TYPE status AS ENUM ('Active', 'Stable')")
op.execute("ALTER TABLE incident ALTER COLUMN status TYPE status USING status::status, ALTER COLUMN status SET DEFAULT 'Active'")

### i06 < i05
incident = sa.Table("incident", sa.MetaData(), autoload_with=op.get_bind())
made = op.create_table("event", sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True), sa.Column("incident_id", sa.Integer, sa.ForeignKey("incident.id", ondelete="CASCADE"), nullable=False, index=True), sa.Column("what", sa.Text))
for row in op.get_bind().execute(sa.select(incident).order_by(incident.c.id)):
    op.get_bind().execute(made.insert().values(incident_id=row.id, what=f"{row.status}: {row.title}"))
--- down
op.drop_table("event")

### i07 < i06
inspector = sa.inspect(op.get_bind())
if inspector.has_table("never"):
    return
if "event" in inspector.get_table_names() and "kind" not in [c["name"] for c in inspector.get_columns("event")]:
    op.add_column("event", sa.Column("kind", sa.String))
--- down
if "kind" in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("event")}:
    op.drop_column("event", "kind")

### i08 < i07
op.create_table("tag", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String, nullable=False, unique=True))
op.create_table("assoc_incident_tags", sa.Column("incident_id", sa.Integer, nullable=False), sa.Column("tag_id", sa.Integer, nullable=False), sa.ForeignKeyConstraint(["incident_id"], ["incident.id"]), sa.ForeignKeyConstraint(["tag_id"], ["tag.id"]), sa.PrimaryKeyConstraint("incident_id", "tag_id"))
--- down
op.drop_table("assoc_incident_tags")
op.drop_table("tag")

### i09 < i08
seen = {}
bind = op.get_bind()
for id_, data in bind.execute(sa.text("SELECT id, data FROM incident ORDER BY id")).fetchall():
    for name in (data or {}).get("tags", "").split(","):
        if name not in seen:
            seen[name] = bind.execute(sa.text("INSERT INTO tag (name) VALUES (:name) RETURNING id"), {"name": name}).scalar()
        bind.execute(sa.text("INSERT INTO assoc_incident_tags VALUES (:incident, :tag)"), {"incident": id_, "tag": seen[name]})
--- down
op.execute("DELETE FROM assoc_incident_tags")
op.execute("DELETE FROM tag")

### i10 < i07
op.create_table("plugin", sa.Column("id", sa.Integer, primary_key=True), sa.Column("slug", sa.String, unique=True), sa.Column("configuration", sa.JSON), sa.Column("enabled", sa.Boolean))
--- down
op.drop_table("plugin")

### i11 < i10
plugin = sa.table("plugin", sa.column("slug", sa.String), sa.column("configuration", sa.JSON), sa.column("enabled", sa.Boolean))
op.bulk_insert(plugin, [{"slug": slug, "configuration": {"url": f"https://example.com/?q=%&s='{slug}'"}, "enabled": slug != "b"} for slug in "abc"])
--- down
op.execute(sa.table("plugin").delete())

### i12 < i09, i11
pass
--- down
pass

### i13 < i12
op.rename_table("plugin", "plugin_instance")
op.execute("ALTER SEQUENCE plugin_id_seq RENAME TO plugin_instance_id_seq")
op.execute("ALTER INDEX pk_plugin RENAME TO pk_plugin_instance")
op.alter_column("plugin_instance", "slug", new_column_name="name")
--- down
op.alter_column("plugin_instance", "name", new_column_name="slug")
op.execute("ALTER INDEX pk_plugin_instance RENAME TO pk_plugin")
op.execute("ALTER SEQUENCE plugin_instance_id_seq RENAME TO plugin_id_seq")
op.rename_table("plugin_instance", "plugin")

### i14 < i13
op.add_column("incident", sa.Column("search", postgresql.TSVECTOR))
op.execute("""
    CREATE FUNCTION incident_search() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN NEW.search := to_tsvector('simple', coalesce(NEW.title, '') || (SELECT count(*) FROM tag)); RETURN NEW; END $$
""")
op.execute("CREATE TRIGGER incident_search BEFORE INSERT OR UPDATE ON incident FOR EACH ROW EXECUTE FUNCTION incident_search()")
op.create_index("ix_incident_search", "incident", ["search"], postgresql_using="gin")
op.execute("UPDATE incident SET title = title")
--- down
op.drop_index("ix_incident_search", "incident", postgresql_using="gin")
op.execute("DROP TRIGGER incident_search ON incident")
op.execute("DROP FUNCTION incident_search()")
op.drop_column("incident", "search")

### i15 < i14
op.add_column("incident", sa.Column("slug", sa.Text, sa.Computed("lower(replace(name, '-', '_'))", persisted=True)))
op.alter_column("incident", "title", existing_type=sa.String(), nullable=False, comment="it's 100% of the title")
op.create_table_comment("incident", "what went wrong")
--- down
op.drop_table_comment("incident")
op.alter_column("incident", "title", existing_type=sa.String(), nullable=True, comment=None, existing_comment="it's 100% of the title")
op.drop_column("incident", "slug")

### i16 < i15
with op.batch_alter_table("event") as batch:
    batch.add_column(sa.Column("owner", sa.Integer))
    batch.create_foreign_key(None, "individual", ["owner"], ["id"])
    batch.create_check_constraint("owner", "owner > 0")
    batch.create_index(batch.f("ix_event_owner"), ["owner"])
--- down
with op.batch_alter_table("event") as batch:
    batch.drop_index("ix_event_owner")
    batch.drop_constraint("owner", type_="check")
    batch.drop_constraint("fk_event_owner_individual", type_="foreignkey")
    batch.drop_column("owner")

### i17 < i16
for key in sa.inspect(op.get_bind()).get_foreign_keys("incident"):
    op.drop_constraint(key["name"], "incident", type_="foreignkey")
op.create_foreign_key(None, "incident", "individual", ["reporter_id"], ["id"], ondelete="SET NULL")
--- down
for key in sa.inspect(op.get_bind()).get_foreign_keys("incident"):
    op.drop_constraint(key["name"], "incident", type_="foreignkey")
op.create_foreign_key(None, "incident", "individual", ["reporter_id"], ["id"])

### i18 < i17
with op.get_context().autocommit_block():
    op.execute("ALTER TYPE visibility ADD VALUE IF NOT EXISTS 'Secret'")
    op.create_index("ix_event_what", "event", ["what"], postgresql_concurrently=True)
--- down
op.drop_index("ix_event_what", "event")

### i19 < i18
op.add_column("incident", sa.Column("cost", sa.String))
op.execute("UPDATE incident SET cost = id::text || '.5'")
op.alter_column("incident", "cost", type_=sa.Numeric(10, 2), postgresql_using="cost::numeric(10,2)")
op.alter_column("incident", "cost", nullable=False, server_default=sa.text("0"))
op.alter_column("incident", "cost", server_default=None)
--- down
op.drop_column("incident", "cost")

### i20 < i19
op.execute(sa.schema.CreateSequence(sa.Sequence("case_number", start=1000, increment=10)))
op.add_column("incident", sa.Column("number", sa.BigInteger))
op.execute("UPDATE incident SET number = nextval('case_number') WHERE id IN (SELECT id FROM incident ORDER BY id LIMIT 100)")
op.execute("ALTER TABLE incident ALTER COLUMN number SET DEFAULT nextval('case_number'); ALTER SEQUENCE case_number OWNED BY incident.number")
--- down
op.drop_column("incident", "number")

### i21 < i20
op.execute("CREATE VIEW open_incident AS SELECT id, title FROM incident WHERE visibility = 'Open'")
op.execute("CREATE MATERIALIZED VIEW incident_count AS SELECT visibility, count(*) FROM incident GROUP BY 1")
op.create_index(None, "incident_count", ["visibility"], unique=True)
--- down
op.execute("DROP MATERIALIZED VIEW incident_count")
op.execute("DROP VIEW open_incident")

### i22 < i21 | settings = {'old': 'Open', 'new': 'Public'}
op.execute(f"ALTER TYPE visibility RENAME VALUE '{settings['old']}' TO '{settings['new']}'")
print("a revision that prints")
--- down
op.execute(f"ALTER TYPE visibility RENAME VALUE '{settings['new']}' TO '{settings['old']}'")

### i23 < i22
bind = op.get_bind()
metadata = sa.MetaData()
metadata.reflect(bind, only=["incident", "event"])
incident, event = metadata.tables["incident"], metadata.tables["event"]
query = sa.select(incident.c.id, sa.func.count(event.c.id)).select_from(incident.join(event)).group_by(incident.c.id).order_by(incident.c.id)
op.add_column("incident", sa.Column("events", sa.Integer, server_default="0", nullable=False))
for id_, count in bind.execute(query).all():
    bind.execute(sa.text("UPDATE incident SET events = :count WHERE id = :id"), [{"count": count, "id": id_}])
--- down
op.drop_column("incident", "events")

### i24 < i23
op.alter_column("incident", "data", type_=postgresql.JSONB, existing_type=sa.JSON(), postgresql_using="data::jsonb")
op.create_index("ix_incident_data", "incident", ["data"], postgresql_using="gin", postgresql_ops={"data": "jsonb_path_ops"})
op.execute(sa.text("""UPDATE incident SET data = data || '{"migrated": true}'::jsonb WHERE data ? 'n'"""))
--- down
op.drop_index("ix_incident_data")
op.execute("UPDATE incident SET data = data - 'migrated'")
op.alter_column("incident", "data", type_=sa.JSON, postgresql_using="data::json")

### i25 < i24
op.drop_constraint("uq_individual_name_email", "individual", type_="unique")
op.create_index("uq_active_email", "individual", [sa.text("lower(email)")], unique=True, postgresql_where=sa.text("email IS NOT NULL"))
--- down
op.drop_index("uq_active_email", table_name="individual")
op.create_unique_constraint(None, "individual", ["name", "email"])

### i26 < i25
op.execute("DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM incident ORDER BY id LOOP INSERT INTO event (incident_id, what) VALUES (r.id, 'loop'); END LOOP; END $$")
--- down
op.execute("DELETE FROM event WHERE what = 'loop'")

### i27 < i26
op.add_column("individual", sa.Column("manager_id", sa.Integer), if_not_exists=True)
op.create_foreign_key(None, "individual", "individual", ["manager_id"], ["id"], deferrable=True, initially="DEFERRED")
op.execute(sa.text("UPDATE individual SET manager_id = :boss WHERE id <> :boss").bindparams(boss=1))
--- down
op.drop_column("individual", "manager_id", if_exists=True)

### i28 < i27
op.execute("CREATE TABLE metric (day date, value int) PARTITION BY RANGE (day)")
for year in (2024, 2025):
    op.execute(f"CREATE TABLE metric_{year} PARTITION OF metric FOR VALUES FROM ('{year}-01-01') TO ('{year + 1}-01-01')")
op.bulk_insert(sa.table("metric", sa.column("day", sa.Date), sa.column("value")), [{"day": __import__("datetime").date(2024, 5, n), "value": n} for n in range(1, 4)])
--- down
op.drop_table("metric")

### i29 < i28
inspector = sa.inspect(op.get_bind())
for unique in inspector.get_unique_constraints("tag"):
    op.drop_constraint(unique["name"], "tag")
for index in inspector.get_indexes("event"):
    if index["column_names"] == ["owner"]:
        op.drop_index(index["name"], "event")
op.create_unique_constraint(None, "tag", ["name", "id"])
op.create_index("ix_event_owner", "event", ["owner"], if_not_exists=True)
--- down
op.drop_constraint("uq_tag_name_id", "tag")
op.create_unique_constraint(None, "tag", ["name"])

### i30 < i29
op.execute("ALTER TABLE event ENABLE ROW LEVEL SECURITY; CREATE POLICY nobody ON event FOR DELETE USING (false)")
op.drop_table("assoc_incident_tags")
op.drop_table("not_there", if_exists=True)
--- down
op.create_table("assoc_incident_tags", sa.Column("incident_id", sa.Integer, sa.ForeignKey("incident.id"), primary_key=True, autoincrement=False), sa.Column("tag_id", sa.Integer, sa.ForeignKey("tag.id"), primary_key=True, autoincrement=False))
op.execute("DROP POLICY nobody ON event; ALTER TABLE event DISABLE ROW LEVEL SECURITY")
''')
