"""A ledger that the database itself keeps of every claim and every answer, whichever process makes them."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

LEDGER = """
CREATE TABLE IF NOT EXISTS ledger (key TEXT, state TEXT);
CREATE TRIGGER IF NOT EXISTS on_insert AFTER INSERT ON cells BEGIN INSERT INTO ledger VALUES (new.key, new.state); END;
CREATE TRIGGER IF NOT EXISTS on_update AFTER UPDATE OF state ON cells
BEGIN INSERT INTO ledger VALUES (new.key, new.state); END;
"""


def keep(home: Path) -> None:
    """Begin to keep the ledger of a data folder."""
    with closing(sqlite3.connect(home / "onceread.sqlite", timeout=30)) as connection:
        connection.executescript(LEDGER)


def read(home: Path) -> tuple[Counter[str], Counter[str]]:
    """How often each cell was claimed, and how often it was answered."""
    with closing(sqlite3.connect(home / "onceread.sqlite", timeout=30)) as connection:
        rows = connection.execute("SELECT key, state FROM ledger").fetchall()
    claims = Counter(key for key, state in rows if state == "claimed")
    return claims, Counter(key for key, state in rows if state != "claimed")
