"""Leaks that are planted in a small application are found, and each only by the detector that it takes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from tenantkit.testing import canaries, driving, isolation
from tenantkit.testing.isolation import assert_isolated
from tenantkit.testing.report import LeakError
from tests.testkit import leaky
from tests.testkit.leaky import App, Leak

pytestmark = pytest.mark.filterwarnings("ignore::tenantkit.testing.report.UnprovenWarning")


@pytest.fixture
def app(leaky_app: App) -> App:
    return leaky_app


def ignore_values(patch: pytest.MonkeyPatch) -> None:
    """Recognise no canary."""
    patch.setattr(canaries.Canaries, "of_others", lambda *_, **__: [])


def ignore_logs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(driving._Handler, "emit", lambda *_: None)


def ignore_sessions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(driving, "tripwire", lambda *_, **__: nullcontext())


def ignore_rows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(isolation, "_contents", lambda *_: {})


def ignore_headers(patch: pytest.MonkeyPatch) -> None:
    look = driving.Driver._look
    patch.setattr(
        driving.Driver, "_look", lambda self, part, text: None if "header" in part else look(self, part, text)
    )


def visit_last(patch: pytest.MonkeyPatch) -> None:
    """Let the other tenant visit the application only afterwards, and see nothing that it should not."""
    drive, visits = driving.Driver.drive, []
    find = canaries.Canaries.of_others

    def visit(self: Any, client: Any, routes: Any, foreign: str | None = None) -> None:
        visits.append(client)
        if len(visits) > 1:
            drive(self, client, routes, foreign=foreign)

    patch.setattr(driving.Driver, "drive", visit)
    patch.setattr(
        canaries.Canaries,
        "of_others",
        lambda self, text, tenant, sent="": [] if tenant == "globex" else find(self, text, tenant, sent=sent),
    )


def visit_before(patch: pytest.MonkeyPatch) -> None:
    """Let the other tenant not visit the application afterwards."""
    drive, visits = driving.Driver.drive, []

    def visit(self: Any, client: Any, routes: Any, foreign: str | None = None) -> None:
        visits.append(client)
        if len(visits) < 4:
            drive(self, client, routes, foreign=foreign)

    patch.setattr(driving.Driver, "drive", visit)


LEAKS: dict[Leak, tuple[str, tuple[Any, ...]]] = {
    leaky.cache_of_objects: ("GET /cached/900000: body, as acme: note.text of globex", (visit_last,)),
    leaky.schema_in_text: ("GET /report: body, as acme: note.text of globex", (ignore_values,)),
    leaky.shared_table: ("GET /entries: body, as acme: entry.line of globex", (ignore_values,)),
    leaky.kept_session: ("GET /kept: body, as acme: note.text of globex", (visit_last,)),
    leaky.class_attribute: ("GET /motto: body, as acme: note.text of globex", (visit_last,)),
    leaky.cached_response: ("GET /notes: body, as acme: note.text of globex", (ignore_values,)),
    leaky.log_line: ("GET /logged: log record of leaky.audit, as acme: note.text of globex", (ignore_logs,)),
    leaky.background_read: ("GET /background: A session of globex loaded <Note", (ignore_sessions,)),
    leaky.background_write: ("The rows of globex are not what they were, as acme: folder of globex", (ignore_rows,)),
    leaky.header: ("GET /header: header X-Last, as acme: note.text of globex", (ignore_headers,)),
    leaky.sent_before: ("GET /form: body, as globex: note.text of acme", (visit_before,)),
}


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_a_leak_is_found(app: App, leak: Leak) -> None:
    leak(app)
    expected, _ = LEAKS[leak]
    with pytest.raises(LeakError) as found:
        assert_isolated(app.tenancy, app.flask)
    assert expected in str(found.value)


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_without_its_detector_a_leak_is_missed(app: App, leak: Leak, monkeypatch: pytest.MonkeyPatch) -> None:
    leak(app)
    for detector in LEAKS[leak][1]:
        detector(monkeypatch)
    assert_isolated(app.tenancy, app.flask)


def test_an_application_without_a_leak_passes(app: App) -> None:
    report = assert_isolated(app.tenancy, app.flask)
    assert report.proven == {"Folder", "Note", "GET /notes", "GET /notes/{id}"}
    assert report.unproven.keys() == {"GET /static/{filename}"}
    assert report.errors.keys() == {"GET /notes/{id}"}
    assert "it raised NoResultFound" in report.errors["GET /notes/{id}"]
