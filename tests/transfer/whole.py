"""Everything that pg_dump writes of one schema, with its rows."""

from __future__ import annotations

import re
import subprocess

from sqlalchemy import URL

from tests.support.dumps import PG_DUMP


def whole(url: URL, schema: str) -> list[str]:
    """Return the lines of a dump, without the comment on the schema and options that a server gives to columns.

    The schema's own name is written ``~``.
    """
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    command = [PG_DUMP, "--schema", f'"{schema}"', address]
    written = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    written = re.sub(rf'(?<![\w~-])("{re.escape(schema)}"|{re.escape(schema)}(?![\w~-]))', "~", written)
    return [
        line
        for line in written.splitlines()
        if line
        and not line.startswith(("--", "\\restrict", "\\unrestrict", "COMMENT ON SCHEMA"))
        and not re.fullmatch(r"ALTER TABLE ONLY .* SET \(.*\);", line)
    ]
