"""A state machine over tenants of all isolations, which searches for rows that reach another tenant.

`machine` has the rules, `visits` the sessions that stay open from rule to rule, `crowds` those that work at the same
time. `model` has what each tenant must find. The ways to read and to write are those of the contract.
"""
