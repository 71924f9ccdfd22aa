"""Failures of one cause are one group, for all tenants."""

from __future__ import annotations

from tenantkit.migrations import MigrationReport, Outcome


def failed(key: str, error: str | None, sqlstate: str | None = "23505", schema: str | None = None) -> Outcome:
    schema = schema or f"t_{key}"
    return Outcome(key=key, schema=schema, from_revision="a", to_revision="a", sqlstate=sqlstate, error=error)


def report(*outcomes: Outcome) -> MigrationReport:
    return MigrationReport(run_id=1, command="migrate", target="head", shared=None, outcomes=outcomes, unchanged=0)


def groups(*outcomes: Outcome) -> list[tuple[str, str | None, tuple[str, ...]]]:
    return [(group.error, group.sqlstate, group.keys) for group in report(*outcomes).failure_groups]


def test_a_tenants_own_names_do_not_separate_failures() -> None:
    assert groups(
        failed("acme", 'relation "t_acme.note" is odd'),
        failed("beta", 'relation "t_beta.note" is odd'),
        failed("gamma", "no luck for gamma in t_gamma~2!", schema="t_gamma~2"),
        failed("delta", "no luck for delta in t_delta!"),
    ) == [
        ('relation "{schema}.note" is odd', "23505", ("acme", "beta")),
        ("no luck for {tenant} in {schema}!", "23505", ("gamma", "delta")),
    ]


def test_a_key_that_is_a_word_of_the_message_is_not_replaced() -> None:
    told = "could not create unique index"
    assert groups(failed("unique", told), failed("index", told), failed("acme", told)) == [
        (told, "23505", ("unique", "index", "acme"))
    ]


def test_a_name_inside_of_another_word_is_not_replaced() -> None:
    assert groups(failed("t", "at the start of t_t_x and t-u", schema="t_t")) == [
        ("at the start of t_t_x and t-u", "23505", ("t",))
    ]


def test_refused_values_do_not_separate_failures() -> None:
    refused = [failed(key, f'invalid input syntax for type integer: "{key * 2}x"', "22P02") for key in ("a", "b")]
    assert groups(*refused) == [('invalid input syntax for type integer: "..."', "22P02", ("a", "b"))]


def test_groups_have_one_sqlstate_and_the_largest_is_first() -> None:
    assert groups(
        failed("a", "x", "1"), failed("b", "y"), failed("c", "x", "2"), failed("d", "x", "2"), failed("e", None)
    ) == [("x", "2", ("c", "d")), ("x", "1", ("a",)), ("y", "23505", ("b",))]


def test_the_report_counts_engines() -> None:
    done = [
        Outcome(key=str(number), schema="s", from_revision="a", to_revision="b", engine=engine)
        for number, engine in enumerate(("replay", "replay", "alembic", None))
    ]
    assert report(*done, failed("x", "no")).engines == {"replay": 2, "alembic": 1}
