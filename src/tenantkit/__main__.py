"""``python -m tenantkit``: the command line, also where the console script is not on the path."""

from __future__ import annotations

from tenantkit.cli import main

if __name__ == "__main__":
    main()
