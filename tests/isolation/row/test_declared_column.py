"""A tenant column that the models declare: it is used as it is, in common tables and in schemas."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Engine,
    Enum,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    create_engine,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload
from sqlalchemy.schema import CreateSchema
from sqlalchemy.types import TypeEngine

from tenantkit import ConfigurationError, MigrationError, Tenancy, drift, migrations
from tenantkit.isolation.row.declared import RowColumn
from tenantkit.isolation.row.policies import security_functions
from tenantkit.isolation.row.security import problems
from tenantkit.isolation.row.writing import writing_physical_form
from tests.isolation.row.conftest import APP, as_role, make_owner
from tests.isolation.row.generated import metadata
from tests.migrations.environments import Environment


class Guid(TypeDecorator[UUID]):
    """As many applications have it."""

    impl = Uuid
    cache_ok = True


ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))
TYPES: dict[str, tuple[Any, tuple[Any, Any, Any]]] = {
    "bigint": (BigInteger, (2**40, 2**40 + 1, 2**40 + 2)),
    "integer": (Integer, (701, 702, 703)),
    "text": (Text, ("org-a", "org'b", "Org c")),
    "varchar": (String(12), ("org-a", "org'b", "Org c")),
    "uuid": (Uuid, (ONE, TWO, THREE)),
    "decorated uuid": (Guid, (ONE, TWO, THREE)),
}
KEYS = ("acme", "berta", "corp")
"""The last one has a schema of its own."""


def declare(type_: Any) -> Any:
    """Return the models of an application with this column, and the name of the column elsewhere."""

    class Base(DeclarativeBase):
        metadata = MetaData(schema="tenant")

    class Owned(Base):
        __abstract__ = True
        id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
        org: Mapped[Any] = mapped_column("organization_id", type_, nullable=False)

    class Account(Owned):
        __tablename__ = "account"
        name: Mapped[str] = mapped_column(unique=True)
        invoices: Mapped[list[Invoice]] = relationship(back_populates="account", cascade="all, delete-orphan")

    class Invoice(Owned):
        __tablename__ = "invoice"
        amount: Mapped[int] = mapped_column(default=0, index=True)
        account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
        account: Mapped[Account] = relationship(back_populates="invoices")

    class Line(Base):  # without the column
        __tablename__ = "line"
        id: Mapped[int] = mapped_column(primary_key=True)
        invoice_id: Mapped[UUID] = mapped_column(ForeignKey(Invoice.id, ondelete="CASCADE"))

    class Counter(Base):  # with the column in its key
        __tablename__ = "counter"
        org: Mapped[Any] = mapped_column("organization_id", type_, primary_key=True)
        name: Mapped[str] = mapped_column(primary_key=True)

    for model in (Account, Invoice):  # the names in annotations are local
        model.registry._class_registry.update({"Account": Account, "Invoice": Invoice})
    Base.models = (Account, Invoice, Line, Counter)
    return Base


@pytest.fixture(params=TYPES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def base(kind: str) -> Any:
    return declare(TYPES[kind][0])


def options(base: Any) -> dict[str, Any]:
    return {"tenant": base.metadata, "shared": None, "row_column": "organization_id", "listen": False}


@pytest.fixture
def owner(url: URL, base: Any, kind: str) -> Generator[Tenancy]:
    with closing(make_owner(url, **options(base))) as tenancy:
        for key, value in zip(KEYS, TYPES[kind][1], strict=True):
            tenancy.create(key, isolation="schema" if key == "corp" else "row", row_value=value)
        yield tenancy


@pytest.fixture
def app(url: URL, base: Any, owner: Tenancy, make_app: Callable[..., Any]) -> Any:
    return make_app(url, **options(base))


def test_each_way_to_write_fills_the_column_of_the_application(app: Any, base: Any, kind: str) -> None:
    account, invoice, line, counter = base.models
    for number, key in enumerate(KEYS):
        value = TYPES[kind][1][number]
        with app.session(key) as session:
            one = account(name="flush", invoices=[invoice(amount=1), invoice(amount=2)])
            session.add_all([one, counter(name="flush")])
            session.flush()
            assert one.org == value
            session.execute(insert(account), [{"name": "bulk"}, {"name": "bulk 2"}])
            session.execute(insert(account.__table__).values(id=uuid4(), name="core"))
            session.execute(insert(account.__table__).values([{"id": uuid4(), "name": f"many {n}"} for n in (1, 2)]))
            session.execute(
                insert(account.__table__).from_select(["id", "name"], select(func.gen_random_uuid(), literal("from")))
            )
            for name in ("upsert", "upsert again"):
                session.execute(
                    upsert(account).values(id=uuid4(), name="up").on_conflict_do_update(
                        index_elements=["name"], set_={"name": "up"}
                    )
                )  # fmt: skip
                session.execute(upsert(counter).values(name=name).on_conflict_do_nothing())
            session.add(line(id=1, invoice_id=one.invoices[0].id))
            if key != "corp":  # the database fills it
                session.execute(text("INSERT INTO account (id, name) VALUES (:id, 'text')"), {"id": str(uuid4())})
            session.execute(insert(account).values(id=UUID(int=number + 9), name="x"))
            session.commit()
        with app.session(key) as session:
            names = session.scalars(select(account.name)).all()
            assert len(names) == len({*names}) == (9 if key == "corp" else 10)
            assert {*session.scalars(select(account.org))} == {*session.scalars(select(invoice.org))} == {value}
            assert {*session.scalars(select(counter.org))} == {value}
            assert len(session.scalars(select(line.id)).all()) == 1
            found = session.execute(text("SELECT organization_id FROM account")).scalars().all()
            assert {str(each) for each in found} == {str(value)}
            loaded = session.scalars(
                select(account).options(selectinload(account.invoices)).where(account.name == "flush")
            ).one()
            assert sorted(each.amount for each in loaded.invoices) == [1, 2]
            session.delete(loaded)
            session.flush()
            assert session.scalars(select(invoice)).all() == session.scalars(select(line)).all() == []
            if key != "corp":
                with pytest.raises(DBAPIError, match="row-level security"):
                    session.execute(update(counter).values(org=TYPES[kind][1][2 if number == 0 else 0]))


def test_common_tables_have_the_column_and_keep_keys(owner: Tenancy, url: URL, base: Any, kind: str) -> None:
    found = """SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'rows'::regnamespace AND contype IN ('p', 'u', 'f') ORDER BY 1"""
    with owner.engine.connect() as connection:
        assert dict(iter(connection.exec_driver_sql(found))) == {
            "account_pkey": "PRIMARY KEY (id)",
            "account_organization_id_id_key": "UNIQUE (organization_id, id)",
            "account_name_key": "UNIQUE (organization_id, name)",
            "invoice_pkey": "PRIMARY KEY (id)",
            "invoice_organization_id_id_key": "UNIQUE (organization_id, id)",
            "invoice_account_id_fkey": "FOREIGN KEY (organization_id, account_id) REFERENCES rows.account(organization_id, id)",
            "line_pkey": "PRIMARY KEY (organization_id, id)",
            "line_invoice_id_fkey": "FOREIGN KEY (organization_id, invoice_id) REFERENCES rows.invoice(organization_id, id) ON DELETE CASCADE",
            "counter_pkey": "PRIMARY KEY (organization_id, name)",
        }
    assert owner.diagnose() == []
    assert not drift.check(owner, models=True).has_drift
    account = base.models[0]
    with closing(Tenancy(as_role(url, APP), **options(base))) as tenancy:
        for key in KEYS[:2]:
            with tenancy.session(key) as session:
                session.add(account(name="a"))
                session.commit()
    owner.drop("acme")
    superuser = create_engine(url)
    with superuser.connect() as connection:
        left = connection.exec_driver_sql("SELECT organization_id FROM rows.account").scalars().all()
    superuser.dispose()
    assert [str(each) for each in left] == [str(TYPES[kind][1][1])]


@pytest.mark.parametrize("kind", ["uuid", "varchar", "bigint"], indirect=True)
def test_revisions_may_add_the_column_and_change_rows(url: URL, base: Any, kind: str, environment: Environment) -> None:
    type_ = {"uuid": "sa.Uuid", "varchar": "sa.String(12)", "bigint": "sa.BigInteger"}[kind]
    environment.add(
        "r1",
        f"""
        column = sa.Column("organization_id", {type_}, nullable=False)
        op.create_table("account", sa.Column("id", sa.Uuid, primary_key=True), column,
            sa.Column("name", sa.String, nullable=False, unique=True), schema="tenant")
        op.create_table("invoice", sa.Column("id", sa.Uuid, primary_key=True), sa.Column("amount", sa.Integer, nullable=False),
            sa.Column("account_id", sa.Uuid, sa.ForeignKey("tenant.account.id"), nullable=False), schema="tenant")
        op.create_index("ix_tenant_invoice_amount", "invoice", ["amount"], schema="tenant")
        op.create_table("line", sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("invoice_id", sa.Uuid, sa.ForeignKey("tenant.invoice.id", ondelete="CASCADE"), nullable=False), schema="tenant")
        op.create_table("counter", sa.Column("organization_id", {type_}), sa.Column("name", sa.String),
            sa.PrimaryKeyConstraint("organization_id", "name"), schema="tenant")
        """,
    )
    account = base.models[0]
    given = {**options(base), "migrations": environment.folder}
    with closing(make_owner(url, **given)) as owner:
        migrations.migrate(owner)
        for key, value in zip(KEYS[:2], TYPES[kind][1], strict=False):
            owner.create(key, isolation="row", row_value=value, seed=lambda session: session.add(account(name="a")))
        environment.add(
            "r2",
            f"""
            op.add_column("invoice", sa.Column("organization_id", {type_}, nullable=True), schema="tenant")
            op.alter_column("invoice", "organization_id", nullable=False, schema="tenant")
            op.execute("UPDATE account SET name = name || (SELECT count(*) FROM account)")
            """,
            'op.drop_column("invoice", "organization_id", schema="tenant")',
        )
    with closing(make_owner(url, **given)) as owner:
        run = migrations.migrate(owner).run_id
        assert owner.diagnose() == []
        report = drift.check(owner, models=True)
        assert ([str(each) for each in report.models], report.has_drift) == ([], False)
        assert migrations.revision(owner, "more", autogenerate=True) is None
        superuser = create_engine(url)
        with superuser.connect() as connection:
            assert connection.exec_driver_sql("SELECT name FROM rows.account").scalars().all() == ["a1", "a1"]
        superuser.dispose()
        migrations.downgrade_run(owner, run)
        assert owner.diagnose() == []
        environment.remove("r2")
        environment.add(
            "r3", "op.create_table('wrong', sa.Column('organization_id', sa.Float), schema='tenant')", after="r1"
        )
    with closing(make_owner(url, **given)) as owner, pytest.raises(MigrationError) as failed:
        migrations.migrate(owner)
    assert "which a tenant column cannot have" in (failed.value.report.failures[0].error or "")
    environment.remove("r3")
    environment.add(
        "r4", "op.execute(\"INSERT INTO account (id, name) VALUES (gen_random_uuid(), 'all')\")", after="r1"
    )
    with closing(make_owner(url, **given)) as owner, pytest.raises(MigrationError) as failed:
        migrations.migrate(owner)
    assert "unique among all tenants. Let seed= write such rows" in (failed.value.report.failures[0].error or "")


@pytest.fixture(scope="module")
def engine(make_template: Callable[..., URL]) -> Generator[Engine]:
    engine = create_engine(make_template())
    yield engine
    engine.dispose()


@pytest.mark.parametrize("type_", [Uuid(), BigInteger(), String(40)])
def test_generated_tables_are_divided(engine: Engine, type_: TypeEngine[Any]) -> None:
    @given(made=metadata(type_))
    @settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def check(made: MetaData) -> None:
        declared = RowColumn("organization_id", lambda: None)
        declared.prepare(made.tables.values())
        if not any("organization_id" in table.columns for table in made.tables.values()):
            with pytest.raises(ConfigurationError, match="No tenant table declares"):
                declared()
            return
        with engine.connect() as connection, connection.begin() as transaction:
            connection.execute(CreateSchema("rows"))
            for each in security_functions("rows"):
                connection.exec_driver_sql(each)
            connection.execution_options(schema_translate_map={"tenant": "rows"})
            with writing_physical_form(connection, declared(), placeholder="tenant", schema="rows"):
                made.create_all(connection, checkfirst=False)
            assert problems(connection, "rows", declared()) == []
            keys = "SELECT DISTINCT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND connamespace = 'rows'::regnamespace"
            assert connection.exec_driver_sql(keys).scalars().all() == ["PRIMARY KEY (id)"]
            transaction.rollback()

    check()


def table(*columns: Any, name: str = "invoice", metadata: MetaData | None = None) -> MetaData:
    return Table(name, metadata if metadata is not None else MetaData(schema="tenant"), *columns).metadata


def org(type_: Any = Uuid, **options: Any) -> Column[Any]:
    return Column("organization_id", type_, **options)


def key(type_: Any = Uuid) -> Column[Any]:
    return Column("id", type_, primary_key=True)


@pytest.mark.parametrize("type_", [SmallInteger(), Float(), Enum("a", name="kind"), String(9, collation="C")], ids=repr)
def test_a_type_that_cannot_be_used_is_refused_at_the_start(type_: TypeEngine[Any]) -> None:
    refuse(table(key(), org(type_)), "a tenant column cannot have")


@pytest.mark.parametrize("type_", [Integer, BigInteger, SmallInteger])
def test_an_integer_key_is_refused_at_the_start(type_: Any) -> None:
    refuse(table(key(type_), org()), "has the integer key 'id'")


def test_different_types_are_refused_at_the_start() -> None:
    made = table(key(), org(BigInteger))
    refuse(table(key(), org(Integer), name="other", metadata=made), "bigint in tenant.invoice, integer in tenant.other")


def refuse(made: MetaData, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Tenancy("postgresql+psycopg://nobody@127.0.0.1:1/x", tenant=made, row_column="organization_id")


def test_a_composite_key_of_the_application_stays(engine: Engine) -> None:
    made = table(key(), org(), UniqueConstraint("organization_id", "id"), name="account")
    table(
        key(),
        org(),
        Column("account_id", Uuid),
        ForeignKeyConstraint(
            ["organization_id", "account_id"],
            ["tenant.account.organization_id", "tenant.account.id"],
            ondelete="SET NULL",
        ),
        metadata=made,
    )
    declared = RowColumn("organization_id", lambda: None)
    declared.prepare(made.tables.values())
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(CreateSchema("rows"))
        for each in security_functions("rows"):
            connection.exec_driver_sql(each)
        connection.execution_options(schema_translate_map={"tenant": "rows"})
        with writing_physical_form(connection, declared(), placeholder="tenant", schema="rows"):
            made.create_all(connection, checkfirst=False)
        assert problems(connection, "rows", declared()) == []
        count = "SELECT count(*) FROM pg_constraint WHERE contype = 'u' AND connamespace = 'rows'::regnamespace"
        assert connection.exec_driver_sql(count).scalar() == 2
        key_ = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' AND connamespace = 'rows'::regnamespace"
        assert str(connection.exec_driver_sql(key_).scalar()).endswith("ON DELETE SET NULL (account_id)")
        transaction.rollback()


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Uuid, "acme"),
        (Uuid, 5),
        (Uuid, UUID(int=0)),
        (BigInteger, 0),
        (BigInteger, -5),
        (BigInteger, 2**63),
        (BigInteger, "x"),
        (Integer, 2**31),
        (Text, ""),
        (Text, " a"),
        (Text, "a\0"),
        (String(3), "four"),
    ],
)
def test_a_value_that_the_column_cannot_have_is_refused(type_: Any, value: Any, url: URL) -> None:
    made = table(key(), org(type_))
    with closing(make_owner(url, tenant=made, shared=None, row_column="organization_id")) as tenancy:
        with pytest.raises(ConfigurationError, match="organization_id' cannot have"):
            tenancy.create("acme", isolation="row", row_value=value)
        assert tenancy.list() == []


def test_each_tenant_has_a_value_of_its_own(url: URL) -> None:
    made = table(key(), org(BigInteger))
    with closing(make_owner(url, tenant=made, shared=None, row_column="organization_id")) as tenancy:
        first = tenancy.create("acme", isolation="row")
        assert first.row_value is None
        tenancy.create("berta", isolation="row", row_value=first.id + 3)
        for value in (first.id, first.id + 3, str(first.id)):
            with pytest.raises(ConfigurationError, match="Another tenant has this row_value"):
                tenancy.create("corp", isolation="schema", row_value=value)
        tenancy.create("corp", isolation="schema", row_value=700)
        assert [tenant.row_value for tenant in tenancy.list()] == [None, str(first.id + 3), "700"]


def test_a_tenant_from_before_gets_its_value_once(url: URL) -> None:
    made = table(key(), org())
    with closing(make_owner(url, tenant=made, shared=None)) as before:
        before.create("acme")
    with closing(make_owner(url, tenant=made, shared=None, row_column="organization_id")) as tenancy:
        with pytest.raises(ConfigurationError, match=r"tenancy.set_row_value\('acme'"):
            tenancy.session("acme")
        assert tenancy.set_row_value("acme", ONE).row_value == str(ONE)
        assert tenancy.binding("acme").value == ONE
        with pytest.raises(ConfigurationError, match="cannot be changed"):
            tenancy.set_row_value("acme", TWO)
        assert UUID(tenancy.create("berta", isolation="row").row_value) != ONE
        with pytest.raises(ConfigurationError, match="Another tenant"):
            tenancy.create("corp", row_value=ONE)
    # A process with older settings does not take the value for an id.
    with closing(make_owner(url, tenant=made, shared=None)) as older, pytest.raises(ConfigurationError):
        older.session("berta")


def test_rows_keep_their_value(url: URL) -> None:
    made = table(key(), org(BigInteger))
    with closing(make_owner(url, tenant=made, shared=None, row_column="organization_id")) as tenancy:
        tenancy.create("acme", isolation="row")
        with pytest.raises(ConfigurationError, match="cannot be changed"):
            tenancy.set_row_value("acme", 77)
        tenancy.create("corp")
        assert tenancy.set_row_value("corp", 77).row_value == "77"
