"""Addresses of servers and databases: their passwords are hidden, SQLite files become addresses.

Readers of an address end its user part at different characters: browsers at the first ``/``, ``?``
or ``#``, SQLAlchemy at an ``@`` only, so that ``postgresql://ann:pa#ss@db/x`` connects. Here
everything up to the last ``@`` belongs to the user, so that too much is hidden, never too little.
"""

import re
from pathlib import Path

__all__ = ["has_password", "hide_passwords", "sqlite_address", "sqlite_path", "without_password"]

_QUERY_KEY = r"(?P<key>[?&;][^=&;]*(?:passw|pwd|token|secret|api_?key|odbc_connect)[^=&;]*=)"
"""Also ``sslpassword`` and ``access_token``; ``odbc_connect`` holds a whole connection string."""
_HIDDEN = "***"
_SQLITE = "sqlite:///"


def has_password(address: str) -> bool:
    """Return whether an address holds a password; a user name alone is none."""
    query, user = _ADDRESS
    return bool(query.search(address)) or any(found["rest"] for found in user.finditer(address))


def without_password(address: str) -> str:
    """Return one address as it may be shown and logged: without its user, which may be a token."""
    return _hide(address, _ADDRESS)


def hide_passwords(text: str) -> str:
    """Return a message as it may be shown and logged, whatever addresses it quotes."""
    return _hide(text, _MESSAGE)


def sqlite_address(file: Path) -> str:
    """Return a SQLite file's address for SQLAlchemy, MLflow and Optuna.

    SQLAlchemy unquotes ``%xx`` and ends a path at ``?``, Optuna fills in braces. MLflow makes
    the folders of an address that begins as most do, without unquoting them; so one that has
    to be quoted names SQLite's driver.
    """
    from sqlalchemy import URL, make_url  # Half a second, which hiding a password does not need.

    plain = f"{_SQLITE}{file}"
    if make_url(plain).database == str(file) and "{" not in plain and "}" not in plain:
        return plain
    return URL.create("sqlite+pysqlite", database=str(file)).render_as_string()


def sqlite_path(address: str) -> Path | None:
    """Return the file of a SQLite store, None for other stores."""
    if not address.startswith((_SQLITE, "sqlite+")):
        return None
    from sqlalchemy import make_url

    return Path(make_url(address).database or "")


def _patterns(character: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what finds secret values of a query, and the user of an address.

    ``character`` is what an address may consist of where it is quoted.
    """
    query = re.compile(rf"{_QUERY_KEY}(?:(?!&){character})*", re.IGNORECASE | re.DOTALL)
    user = re.compile(rf"(?<=://)[^:/\s]*(?P<rest>:{character}*)?@", re.DOTALL)
    return query, user


_ADDRESS = _patterns(".")
_MESSAGE = _patterns(r"\S")


def _hide(text: str, patterns: tuple[re.Pattern[str], re.Pattern[str]]) -> str:
    query, user = patterns
    # Values of the query first: an @ among them belongs to no user.
    return user.sub(f"{_HIDDEN}@", query.sub(rf"\g<key>{_HIDDEN}", text))
