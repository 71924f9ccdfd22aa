"""The name that recorded statements have for the schema of their placement."""

from __future__ import annotations

from tenantkit.postgres.quoting import quote_identifier

ALIAS = "TK_3f9a51c7_PLACEMENT"
"""The name of the placement's schema in recorded statements. It has capitals, so it is always quoted."""
QUOTED_ALIAS = quote_identifier(ALIAS)
