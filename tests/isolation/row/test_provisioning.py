"""Tenants in common tables are created, repaired and dropped; logins for which policies do not hold are refused."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import URL, Column, Engine, ForeignKey, Integer, MetaData, Table, create_engine, select, text
from sqlalchemy.orm import Session

from tenantkit import ConfigurationError, Placement, ProvisioningError, Tenancy
from tenantkit.exceptions import TenantkitError
from tenantkit.isolation.row import removal
from tests.isolation.row.conftest import APP, OWNER, as_role, make_owner
from tests.isolation.row.models import APPLICATION, Account, Base, Invoice, Tag


@pytest.fixture
def owner(url: URL) -> Generator[Tenancy]:
    with closing(make_owner(url)) as tenancy:
        yield tenancy


def _seed(session: Any) -> None:
    session.add(Account(id=1, name=session.tenant.key, tags=[Tag(id=1, name="t")], invoices=[Invoice(number="1")]))


def _read(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_a_tenant_is_created_seeded_and_dropped_beside_another(pair: Tenancy, engine: Engine) -> None:
    tables = _read(engine, "SELECT count(*) FROM pg_class WHERE relnamespace = 'rows'::regnamespace")
    first, second = (pair.create(key, isolation="row", seed=_seed) for key in ("new", "newer"))
    for tenant in (first, second):
        assert (tenant.isolation, tenant.placement, tenant.status) == ("row", Placement("main", "rows"), "active")
    assert _read(engine, "SELECT name FROM rows.account ORDER BY tenant_id") == [("new",), ("newer",)]
    assert pair.diagnose() == []
    pair.suspend("new")
    assert pair.drop("new").key == "new"
    for table in ("account", "invoice", "tag", "tagged"):
        assert _read(engine, f"SELECT count(*) FROM rows.{table}") == [(1,)]
    assert pair.create("new", isolation="row").id > second.id
    assert _read(engine, "SELECT count(*) FROM pg_class WHERE relnamespace = 'rows'::regnamespace") == tables


def test_a_removal_goes_in_chunks_and_through_cycles(url: URL, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "CHUNK", 3)
    made = MetaData(schema="tenant")
    key = lambda: Column("id", Integer, primary_key=True)  # noqa: E731
    Table("leaf", made, key(), Column("up", ForeignKey("tenant.a.id", ondelete="RESTRICT"), nullable=False))
    Table("a", made, key(), Column("b", ForeignKey("tenant.b.id", name="a_b", use_alter=True)))
    Table(
        "b",
        made,
        key(),
        Column("a", ForeignKey("tenant.a.id", ondelete="RESTRICT")),
        Column("up", ForeignKey("tenant.b.id")),
    )
    rows = ["INSERT INTO a SELECT generate_series(1, 10)", "INSERT INTO b SELECT id, id, 11 - id FROM a",
        "UPDATE a SET b = id", "INSERT INTO leaf SELECT generate_series(1, 20), 1"]  # fmt: skip
    superuser = create_engine(url)
    with closing(make_owner(url, tenant=made, shared=None)) as tenancy, superuser.connect() as all_rows:
        for tenant in ("one", "two"):
            tenancy.create(tenant, isolation="row", seed=lambda session: [session.execute(text(each)) for each in rows])
        tenancy.drop("one")
        counts = "SELECT (SELECT count(*) FROM rows.a), (SELECT count(*) FROM rows.b), (SELECT count(*) FROM rows.leaf)"
        assert tuple(all_rows.exec_driver_sql(counts).one()) == (10, 10, 20)
        tenancy.drop("two")
        all_rows.rollback()
        assert tuple(all_rows.exec_driver_sql(counts).one()) == (0, 0, 0)
    superuser.dispose()


def test_a_superuser_drops_a_tenant_from_partitioned_tables(
    pair: Tenancy, pair_url: URL, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partitions have rows with the same ctid, and row security does not hold for the superuser."""
    monkeypatch.setattr(removal, "CHUNK", 2)
    ids = {key: pair.get(key).id for key in ("acme", "berta")}
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE rows.log (id int, tenant_id bigint NOT NULL) PARTITION BY LIST (tenant_id)"
        )
        for key, number in ids.items():
            connection.exec_driver_sql(f"CREATE TABLE rows.log_{key} PARTITION OF rows.log FOR VALUES IN ({number})")
            connection.exec_driver_sql(f"INSERT INTO rows.log SELECT generate_series(1, 4), {number}")
    with closing(Tenancy(pair_url, **APPLICATION, listen=False)) as superuser:
        superuser.drop("acme")
    assert _read(engine, "SELECT tenant_id, count(*) FROM rows.log GROUP BY 1") == [(ids["berta"], 4)]


def test_a_creation_that_failed_leaves_no_rows(pair: Tenancy, engine: Engine) -> None:
    def fail(session: Any) -> None:
        _seed(session)
        session.flush()
        raise ValueError("no")

    with pytest.raises(ProvisioningError, match="seeding"):
        pair.create("new", isolation="row", seed=fail)
    assert _read(engine, "SELECT count(*) FROM rows.account") == [(0,)]
    assert [finding.subject for finding in pair.diagnose()] == ["new"]
    pair.repair()
    assert "new" not in [tenant.key for tenant in pair.list()]
    assert pair.create("new", isolation="row", seed=_seed).status == "active"


@pytest.mark.parametrize(("first", "other"), [("row", "schema"), ("schema", "row")])
def test_a_creation_that_has_begun_keeps_its_isolation(pair: Tenancy, first: str, other: str) -> None:
    def fail(_session: object) -> None:
        raise ValueError("no")

    with pytest.raises(ProvisioningError, match="seeding"):
        pair.create("new", isolation=first, seed=fail)
    with pytest.raises(ProvisioningError, match=f"has begun .* with isolation '{first}'; drop the tenant first"):
        pair.create("new", isolation=other)
    assert pair.create("new", isolation=first).isolation == first


def test_first_tenants_may_be_created_at_once(owner: Tenancy) -> None:
    def create(number: int) -> str:
        return str(owner.create(f"t{number}", isolation="row", seed=_seed).status)

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(create, range(6))) == ["active"] * 6


def test_a_deployment_has_a_default_for_new_tenants(url: URL) -> None:
    with closing(make_owner(url, isolation="row", rows_schema="common")) as tenancy:
        assert tenancy.create("small").placement == Placement("main", "common")
        assert tenancy.create("large", isolation="schema").schema == "t_large"


def test_an_unknown_isolation_is_refused(owner: Tenancy) -> None:
    for call in (lambda: owner.create("acme", isolation="rows"), lambda: make_owner(owner.engine.url, isolation="x")):
        with pytest.raises(ConfigurationError, match="isolation"):
            call()
    assert owner.list() == []


def test_a_schema_with_another_use_is_not_taken(owner: Tenancy) -> None:
    with owner.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA rows")
    with pytest.raises(ProvisioningError, match="'rows' exists"):
        owner.create("acme", isolation="row")
    taken = closing(make_owner(owner.engine.url, rows_schema="shared"))
    with taken as other, pytest.raises(TenantkitError, match="has another use"):
        other.create("berta", isolation="row")
    with closing(make_owner(owner.engine.url, schema_prefix="")) as other, pytest.raises(TenantkitError):
        other.create("rows")


@pytest.fixture(params=["superuser", "bypassrls", "owner", "member"])
def login(request: pytest.FixtureRequest, pair_url: URL, engine: Engine) -> URL:
    """A login for which policies do not hold, or that could remove them."""
    if request.param == "superuser":
        return pair_url
    if request.param == "owner":
        return as_role(pair_url, OWNER)
    with engine.begin() as connection:
        role = f"tk_{request.param}_{pair_url.database}"
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'tk'")
        connection.exec_driver_sql(f"GRANT {APP} TO {role}")
        if request.param == "bypassrls":
            connection.exec_driver_sql(f"ALTER ROLE {role} BYPASSRLS")
        else:
            connection.exec_driver_sql(f"GRANT {OWNER} TO {role}")
    return as_role(pair_url, role)


def test_a_login_without_row_security_has_no_sessions(login: URL) -> None:
    with closing(Tenancy(login, **APPLICATION, listen=False)) as tenancy:
        for _ in range(2):
            with (
                tenancy.session("acme") as session,
                pytest.raises(ConfigurationError, match="Row isolation does not hold"),
            ):
                session.scalars(select(Tag)).all()
        with tenancy.session("corp") as session:
            assert session.scalars(select(Tag)).all() == []
        with tenancy.shared_session() as session:
            assert session.execute(text("SELECT 1")).scalar_one() == 1


def test_a_role_that_can_be_left_does_not_help(pair_url: URL) -> None:
    options = {"connect_args": {"options": f"-c role={APP}"}}
    with (
        closing(Tenancy(pair_url, **APPLICATION, listen=False, engine_options=options)) as tenancy,
        tenancy.session("acme") as session,
        pytest.raises(ConfigurationError, match="is a superuser"),
    ):
        session.scalars(select(Tag)).all()


@pytest.mark.parametrize("has_begun", [False, True])
def test_common_tables_are_not_created_by_a_login_without_row_security(
    url: URL, owner: Tenancy, has_begun: bool
) -> None:
    if has_begun:
        with pytest.raises(ProvisioningError, match="seeding"):
            owner.create("acme", isolation="row", seed=lambda _: 1 / 0)
    superuser = closing(Tenancy(url, **APPLICATION, listen=False, grant_to=APP))
    with superuser as tenancy, pytest.raises(ProvisioningError, match="as an ordinary role"):
        tenancy.create("acme", isolation="row")


def test_common_tables_need_a_role_for_sessions(url: URL) -> None:
    with closing(Tenancy(as_role(url, OWNER), **APPLICATION, listen=False)) as tenancy:
        with pytest.raises(ProvisioningError, match="needs grant_to="):
            tenancy.create("acme", isolation="row")
        with pytest.raises(TenantkitError):
            tenancy.create("acme", isolation="row")


FAULTS: dict[str, tuple[str, str]] = {
    "no policy": ("DROP POLICY tenantkit ON rows.tag", "has no policy"),
    "no check": (
        "ALTER POLICY tenantkit ON rows.tag WITH CHECK (true)",
        "another policy than tenantkit's",
    ),
    "other condition": ("ALTER POLICY tenantkit ON rows.tag USING (tenant_id > 0)", "another policy than tenantkit's"),
    "other roles": (f"ALTER POLICY tenantkit ON rows.tag TO {APP}", "another policy than tenantkit's"),
    "no trigger": ("DROP TRIGGER tenantkit ON rows.tag", "has no trigger"),
    "disabled trigger": ("ALTER TABLE rows.tag DISABLE TRIGGER tenantkit", "has no trigger"),
    "other trigger": (
        (
            "DROP TRIGGER tenantkit ON rows.tag; CREATE TRIGGER tenantkit BEFORE INSERT ON rows.tag "
            "EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        ),
        "has no trigger",
    ),
    "silent": (
        "ALTER POLICY tenantkit ON rows.tag USING (tenant_id = nullif(current_setting('tenantkit.tenant', true), '')::bigint)",
        "another policy than tenantkit's",
    ),
    "further policy": ("CREATE POLICY more ON rows.tag USING (true)", "2 policies"),
    "disabled": ("ALTER TABLE rows.tag DISABLE ROW LEVEL SECURITY", "enabled and forced"),
    "not forced": ("ALTER TABLE rows.tag NO FORCE ROW LEVEL SECURITY", "enabled and forced"),
    "global key": ("CREATE UNIQUE INDEX global ON rows.tag (name)", "unique indexes over all tenants: global"),
    "open key": (
        "ALTER TABLE rows.tag ADD UNIQUE (id); ALTER TABLE rows.invoice ADD CONSTRAINT mine FOREIGN KEY (account_id) REFERENCES rows.tag (id)",
        "foreign keys that reach rows of other tenants: mine",
    ),
    "included tenant": (
        "CREATE UNIQUE INDEX global ON rows.tag (name) INCLUDE (tenant_id)",
        "unique indexes over all tenants: global",
    ),
    "exclusion": (
        "ALTER TABLE rows.tag ADD CONSTRAINT global EXCLUDE (name WITH =)",
        "unique indexes over all tenants: global",
    ),
    "crossed key": (
        (
            "ALTER TABLE rows.account ADD twin bigint; ALTER TABLE rows.account ADD UNIQUE (id, tenant_id); "
            "ALTER TABLE rows.account ADD CONSTRAINT mine FOREIGN KEY (tenant_id, id) REFERENCES rows.account (id, tenant_id)"
        ),
        "foreign keys that reach rows of other tenants: mine",
    ),
    "materialized view": ("CREATE MATERIALIZED VIEW rows.mine AS SELECT * FROM rows.tag", "is a materialized view"),
    "foreign table": (
        "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER far FOREIGN DATA WRAPPER far; CREATE FOREIGN TABLE rows.mine (tenant_id bigint NOT NULL) SERVER far",
        "is a foreign table",
    ),
    "table": ("CREATE TABLE rows.mine (id int)", "'mine' of the schema 'rows' lacks the tenant column"),
    "mark": ("COMMENT ON SCHEMA rows IS NULL", "lacks its comment"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_doctor_finds_what_opens_a_table(pair: Tenancy, engine: Engine, fault: str) -> None:
    assert pair.diagnose() == []
    statements, problem = FAULTS[fault]
    with engine.begin() as connection:
        for each in statements.split("; "):
            connection.exec_driver_sql(each)
    assert any(problem in finding.problem for finding in pair.diagnose())


@pytest.mark.parametrize("way", ["stream", "cursor in text"])
def test_a_cursor_of_another_tenant_is_not_read_on(pair: Tenancy, pair_url: URL, way: str) -> None:
    with closing(Tenancy(as_role(pair_url, APP), **APPLICATION, listen=False)) as tenancy:
        for key in ("acme", "berta"):
            with tenancy.session(key) as session:
                session.add_all([Tag(id=number, name=f"{key} {number}") for number in range(9)])
                session.commit()
        with tenancy.engine.connect() as connection, connection.begin():
            for planner in ("indexscan", "indexonlyscan", "bitmapscan"):  # the policy is applied to each row
                connection.exec_driver_sql(f"SET LOCAL enable_{planner} = off")
            first, second = (tenancy.session(key, bind=connection) for key in ("acme", "berta"))
            rows = None
            if way == "stream":
                rows = first.execute(text("SELECT name FROM tag"), execution_options={"yield_per": 2}).scalars()
                names = rows.fetchmany(2)
            else:
                first.execute(text("DECLARE mine CURSOR FOR SELECT name FROM tag"))
                names = first.scalars(text("FETCH 2 FROM mine")).all()
            with pytest.raises(ConfigurationError, match="open cursor on this connection"):
                second.scalars(select(Tag.name)).all()
            more = rows or first.scalars(text("FETCH ALL FROM mine"))
            assert [*names, *more] == [f"acme {number}" for number in range(9)]
            if rows is None:
                first.execute(text("CLOSE mine"))
            second = tenancy.session("berta", bind=connection)
            assert second.scalars(select(Tag.name)).first() == "berta 0"
            assert first.scalars(select(Tag.name)).first() == "acme 0"


def test_a_callers_connection_is_left_as_it_was(pair: Tenancy) -> None:
    with pair.engine.connect() as connection, connection.begin():
        with pair.session("acme", bind=connection) as session:
            session.add(Tag(id=1, name="acme"))
            session.flush()
        with pair.session("berta", bind=connection) as session:
            assert session.scalars(select(Tag.name)).all() == []
        with pair.session("corp", bind=connection) as session:
            assert session.scalars(select(Tag.name)).all() == []
            assert session.execute(text("SELECT current_setting('tenantkit.tenant', true)")).scalar() == ""
        with Session(connection) as plain:
            asked = text("SELECT current_setting('tenantkit.tenant', true), current_setting('search_path')")
            assert "rows" not in str(plain.execute(asked).one())
            table = Base.metadata.tables["tenant.tag"]
            statement = select(table.c.id).execution_options(schema_translate_map={"tenant": "t_corp"})
            assert connection.execute(statement).all() == []  # without the criterion


EXPOSURES: dict[str, tuple[str, str | None]] = {
    **{
        f"{privilege} to {role}": (
            f"GRANT {privilege} ON rows.tag TO {role}",
            f"has {privilege} on the table 'tag' of the schema 'rows', for which policies do not hold",
        )
        for privilege in ("TRUNCATE", "REFERENCES", "TRIGGER")
        for role in (APP, "PUBLIC")
    },
    "SELECT": (f"GRANT SELECT, INSERT, UPDATE, DELETE ON rows.tag TO {APP}", None),
    "setval": (f"GRANT UPDATE ON SEQUENCE rows.tag_id_seq TO {APP}", "has UPDATE on the sequence 'tag_id_seq'"),
    "nextval": (f"GRANT USAGE ON SEQUENCE rows.tag_id_seq TO {APP}", None),
    "view": ("CREATE VIEW public.mine AS SELECT * FROM rows.tag", "the view mine shows rows of all tenants"),
    "view of a view": (
        (
            f"CREATE VIEW rows.one AS SELECT * FROM rows.tag; ALTER VIEW rows.one OWNER TO {OWNER}; "
            "CREATE VIEW rows.two AS SELECT * FROM rows.one"
        ),
        "the view rows.two shows rows of all tenants",
    ),
    "view of the owner": (
        f"CREATE VIEW rows.mine AS SELECT * FROM rows.tag; ALTER VIEW rows.mine OWNER TO {OWNER}",
        None,
    ),
    "view of another table": ("CREATE VIEW public.mine AS SELECT * FROM shared.plan", None),
    "materialized view elsewhere": (
        "CREATE MATERIALIZED VIEW public.mine AS SELECT * FROM rows.tag",
        "the materialized view mine has rows of all tenants",
    ),
    "definer": (
        "CREATE FUNCTION rows.f() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM rows.tag'",
        "the function rows.f() is SECURITY DEFINER",
    ),
    "definer of the owner": (
        (
            "CREATE FUNCTION rows.f() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM rows.tag'; "
            f"ALTER FUNCTION rows.f() OWNER TO {OWNER}"
        ),
        None,
    ),
    "invoker": ("CREATE FUNCTION rows.f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM rows.tag'", None),
}


@pytest.mark.parametrize("way", EXPOSURES)
def test_the_doctor_finds_what_policies_do_not_restrict(pair: Tenancy, engine: Engine, way: str) -> None:
    statements, problem = EXPOSURES[way]
    with engine.begin() as connection:
        for each in statements.split("; "):
            connection.exec_driver_sql(each)
    found = [finding.problem for finding in pair.diagnose()]
    assert (found == []) if problem is None else (len(found) == 1 and problem in found[0]), found


def test_a_view_of_an_invoker_is_no_finding(pair: Tenancy, engine: Engine) -> None:
    with engine.begin() as connection:
        if (connection.dialect.server_version_info or ()) < (15,):
            pytest.skip("PostgreSQL 14 has no security_invoker")
        connection.exec_driver_sql("CREATE VIEW public.mine WITH (security_invoker = on) AS SELECT * FROM rows.tag")
    assert pair.diagnose() == []
