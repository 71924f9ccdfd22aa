"""Opens first connections, each of which is interrupted at another call of a function in Python, and uses others then.

A process of its own: SQLAlchemy keeps some of the interrupted ones for ever.
"""

from __future__ import annotations

import sys

from sqlalchemy import MetaData

from tenantkit import Tenancy


def connect(url: str, interrupted_at: int) -> int:
    """Open a connection of a new engine; return the number of calls, up to the interruption."""
    calls = 0

    def profile(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"
        if calls == interrupted_at:
            sys.setprofile(None)
            raise KeyboardInterrupt

    tenancy = Tenancy(url, tenant=MetaData(schema="tenant"), listen=False)
    try:
        sys.setprofile(profile)
        connection = tenancy.engine.connect()
        connection.exec_driver_sql("SELECT 1").all()
        sys.setprofile(None)
        connection.close()
    except KeyboardInterrupt:
        with tenancy.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT 2").scalar() == 2
    finally:
        sys.setprofile(None)
        tenancy.close()
    return calls


def main(url: str, step: int) -> int:
    """Interrupt at every *step*-th call; return the number of interruptions."""
    connect(url, sys.maxsize)  # imports modules
    numbers = range(1, connect(url, sys.maxsize), step)
    for number in numbers:
        connect(url, number)
    return len(numbers)


if __name__ == "__main__":
    sys.stdout.write(str(main(sys.argv[1], int(sys.argv[2]))))
