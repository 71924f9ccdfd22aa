"""The command line of a deployment."""

from __future__ import annotations

import json
import os
from unittest.mock import patch

from sqlalchemy import make_url

from tenantkit import Tenancy
from tests.cli.project import Result, invoke
from tests.isolation.contract.deployment import Deployment
from tests.isolation.contract.isolations import KINDS

_SETTINGS = "CONTRACT"


def run(deployment: Deployment, *arguments: str) -> Result:
    """Run a command as the operator of *deployment*."""
    urls = {name: url.render_as_string(hide_password=False) for name, url in deployment.urls.items()}
    settings = json.dumps([deployment.kind.name, urls, str(deployment.environment.folder), deployment.role])
    with patch.dict(os.environ, {"TENANTKIT_APP": f"{__name__}:open_tenancy", _SETTINGS: settings}):
        return invoke(*arguments)


def open_tenancy() -> Tenancy:
    """Open the tenancy that the command works on."""
    name, urls, folder, role = json.loads(os.environ[_SETTINGS])
    (kind,) = (kind for kind in KINDS if kind.name == name)
    return kind.make({key: make_url(url) for key, url in urls.items()}, migrations=folder, grant_to=role)
