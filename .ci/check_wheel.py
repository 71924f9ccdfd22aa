"""Check that a wheel holds what tenantkit needs at run time, and nothing else."""

import sys
from zipfile import ZipFile

WANTED = [
    "tenantkit/py.typed",
    "tenantkit/migrations/templates/alembic.ini",
    "tenantkit/migrations/templates/env.py",
    "tenantkit/migrations/templates/script.py.mako",
]

names = ZipFile(sys.argv[1]).namelist()
missing = [name for name in WANTED if name not in names]
strange = [name for name in names if not name.startswith(("tenantkit/", "tenantkit-")) or name.endswith(".pyc")]
print(f"{sys.argv[1]}: {len(names)} files, missing {missing}, not expected {strange}")
sys.exit(bool(missing or strange))
