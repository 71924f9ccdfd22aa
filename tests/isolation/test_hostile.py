"""Hostile statements reach a neighbour where the documentation says so, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.guards import ALLOW, ELSEWHERE, GUARDS, ROLES, Guard, is_sound, prepare, reaches
from tests.isolation.contract.hostile import ATTACKS, BECOME, CALLED_SET_ROLE, SERVER, SET_ROLE, TAKE_ROLE
from tests.support.tables import render


@pytest.fixture
def deploy_guarded(deploy: Callable[..., Deployment]) -> Callable[[Guard], Deployment]:
    """Deploy the application with a guard, and with secrets to look for."""

    def deploy_guarded(guard: Guard) -> Deployment:
        deployment = deploy(guard.kind, **guard.options)
        prepare(deployment)
        return deployment

    return deploy_guarded


@pytest.mark.all_cases
def test_the_documentation_says_which_hostile_statements_reach_a_neighbour(
    deploy_guarded: Callable[[Guard], Deployment], compare_table: Callable[[str, str, str], None]
) -> None:
    found = {}
    for guard in GUARDS:
        deployment = deploy_guarded(guard)
        found[guard.name] = {attack: reaches(deployment, attack) for attack in ATTACKS}
    table = "\n".join(
        render(
            (group, *(guard.name for guard in GUARDS)),
            (
                (f"`{attack.shown}`", *("reaches" if found[guard.name][attack] else "no" for guard in GUARDS))
                for attack in ATTACKS
                if attack.group == group
            ),
        )
        for group in dict.fromkeys(attack.group for attack in ATTACKS)
    )
    compare_table("reference/hostile-statements.md", "hostile statements", table)


@pytest.mark.all_cases
def test_each_hostile_statement_works_where_nothing_is_in_its_way(
    deploy_guarded: Callable[[Guard], Deployment],
) -> None:
    """Otherwise that it reaches nobody would say nothing."""
    deployment = deploy_guarded(ALLOW)
    others = [attack for attack in ATTACKS if not is_sound(deployment, attack)]
    assert others == [SET_ROLE, TAKE_ROLE, BECOME, CALLED_SET_ROLE]  # which need roles of tenants
    guarded = deploy_guarded(ROLES)
    assert all(is_sound(guarded, attack) for attack in others)


@pytest.mark.all_cases
def test_in_another_database_only_what_all_databases_share_is_reached(
    deploy_guarded: Callable[[Guard], Deployment],
) -> None:
    deployment = deploy_guarded(ELSEWHERE)
    reached = [attack for attack in ATTACKS if reaches(deployment, attack)]
    assert [attack.group for attack in reached] == [SERVER] * 2
    assert all("pg_stat_activity" in attack.shown for attack in reached)
