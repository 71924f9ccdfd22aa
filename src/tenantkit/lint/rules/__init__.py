"""The rules: each finds one kind of problem in a revision, and has a module, a code and a page in the documentation."""

from tenantkit.lint.rules import (
    common_tables,
    function_paths,
    keys_to_shared,
    long_names,
    outside_work,
    own_commits,
    phases,
    replaying,
    rows_under_lock,
    schema_names,
    unseen,
    whole_database,
    wrong_line,
)
from tenantkit.lint.rules.rule import Problem as Problem
from tenantkit.lint.rules.rule import Rule as Rule

RULES: dict[str, Rule] = {
    rule.code: rule
    for rule in (
        unseen.RULE,
        schema_names.RULE,
        wrong_line.RULE,
        keys_to_shared.RULE,
        long_names.RULE,
        own_commits.RULE,
        phases.RULE,
        replaying.RULE,
        function_paths.RULE,
        rows_under_lock.RULE,
        whole_database.RULE,
        outside_work.RULE,
        common_tables.RULE,
    )
}
"""The rules by their codes."""
