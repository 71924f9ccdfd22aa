"""Links lead to the same tenant, at each of its addresses."""

from __future__ import annotations

import pytest

from examples.flask_app.tests.browser import Browser, links

pytestmark = pytest.mark.all_cases


def test_every_link_leads_to_a_page_of_the_same_tenant(acme: Browser) -> None:
    waiting, seen = {f"{acme.prefix}/projects"}, set[str]()
    while waiting:
        address = waiting.pop()
        seen.add(address)
        page = acme.client.get(address, base_url=f"http://{acme.host}", follow_redirects=True)
        assert page.status_code == 200, address
        found = links(page)
        assert all(link.startswith(f"{acme.prefix}/") for link in found), (address, found)
        waiting |= found - seen
    shown = {address.removeprefix(acme.prefix) for address in seen}
    assert {
        "/projects",
        "/projects/START",
        "/projects/START/tasks/1",
        "/projects/new",
        "/members",
        "/activity",
    } <= shown
