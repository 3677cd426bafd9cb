"""Passwords in addresses: nothing that a reader of the address would send is shown."""

import pytest
from sqlalchemy.engine import make_url

from strictune.passwords import has_password, hide_passwords, without_password

PLAIN = [
    "http://127.0.0.1:5000",
    "http://host:5000/api/v1?page=2#part",
    "sqlite:////a b/mlflow.db",
    "sqlite:////home/ann@work/mlflow.db",
    "postgresql+psycopg2://db:5432/x?sslmode=require",
    "s3://bucket/ann@work",
    "databricks",
    "/shared/mlruns",
]
SECRETS = [
    ("https://ann:secret@host:80/x", "https://***@host:80/x"),
    ("postgresql://ann:p@secret@db/x", "postgresql://***@db/x"),
    ("postgresql://ann:pa#secret@db/x", "postgresql://***@db/x"),
    ("postgresql://ann:pa?secret@db/x", "postgresql://***@db/x"),
    ("postgresql://ann:pa/secret@db/x", "postgresql://***@db/x"),
    ("postgresql://ann:pa secret@db/x", "postgresql://***@db/x"),
    ("mysql://db/x?user=ann&password=secret", "mysql://db/x?user=ann&password=***"),
    ("mysql://db:1/x?PASSWD=a@secret&b=c", "mysql://db:1/x?PASSWD=***&b=c"),
    ("mssql+pyodbc://?odbc_connect=PWD%3Dsecret", "mssql+pyodbc://?odbc_connect=***"),
    ("http://host/x?access_token=secret", "http://host/x?access_token=***"),
]


@pytest.mark.parametrize("address", PLAIN)
def test_an_address_without_secrets_stays_as_it_is(address: str) -> None:
    assert without_password(address) == hide_passwords(address) == address
    assert not has_password(address)


@pytest.mark.parametrize(("address", "shown"), SECRETS)
def test_a_password_is_not_shown_wherever_its_reader_finds_it(address: str, shown: str) -> None:
    assert without_password(address) == shown
    assert has_password(address)
    assert without_password(shown) == shown


@pytest.mark.parametrize("mark", "#?/ ;,'=")
def test_what_sqlalchemy_takes_for_a_password_is_hidden(mark: str) -> None:
    address = f"postgresql://ann:sec{mark}ret@db/x"
    assert make_url(address).password == f"sec{mark}ret"
    assert without_password(address) == "postgresql://***@db/x"


def test_a_user_alone_may_be_a_token_and_is_hidden() -> None:
    assert without_password("https://ann@host") == "https://***@host"
    assert not has_password("https://ann@host")


@pytest.mark.parametrize(("address", "shown"), [pair for pair in SECRETS if " " not in pair[0]])
def test_a_message_hides_the_addresses_that_it_quotes(address: str, shown: str) -> None:
    text = "{} failed, and so did {} ; write to help@example.org"
    assert hide_passwords(text.format(address, address)) == text.format(shown, shown)
