"""Where a cluster's job server is, and the token it wants.

Whoever reaches a job server runs code on its cluster. So a server that is not on this machine
is spoken to only with a token, and a token that nobody named is sent to this machine only.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from strictune.errors import SpecError

__all__ = ["JobAccess", "job_access"]

TOKEN_PATH_VARIABLE = "RAY_AUTH_TOKEN_PATH"
TOKEN_VARIABLE = "RAY_AUTH_TOKEN"
DEFAULT_TOKEN = Path(".ray", "auth_token")
"""Below the home directory: where Ray writes the token that it makes itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAccess:
    """How a job server is reached."""

    address: str
    """Scheme, host and port."""
    token: str | None = field(repr=False)
    token_variables: str
    """What has to stand before ``ray job ...`` for the same access; empty without a token."""

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers of every request."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @property
    def is_in_clear(self) -> bool:
        """The token crosses a network without encryption."""
        return urlsplit(self.address).scheme == "http" and not _is_this_machine(self.address)

    def command(self, verb: str, job_id: str) -> str:
        """Return a ``ray job`` command line about a job."""
        return f"{self.token_variables}ray job {verb} --address {self.address} {job_id}"


def job_access(
    address: str, *, token_file: Path | None, shell: Mapping[str, str], home: Path
) -> JobAccess:
    """Check the address and find the token.

    The first of: ``token_file``, RAY_AUTH_TOKEN_PATH, RAY_AUTH_TOKEN and, for a server on this
    machine, the token that Ray made in the home directory.

    Raises:
        SpecError: The address is none of a job server, the token cannot be read, or a server
            elsewhere is to be used without one.
    """
    address = address.rstrip("/")
    _check(address)
    token, variables = _token(token_file, shell, home, is_local=_is_this_machine(address))
    if token is None and not _is_this_machine(address):
        raise SpecError(
            f"--address {address} is not on this machine, and no token is given: whoever reaches a "
            "job server without a token runs code on its cluster. Give --token-file FILE (on the "
            f"cluster's head node: ~/{DEFAULT_TOKEN}), or reach the server through a tunnel: "
            "ssh -L 8265:127.0.0.1:8265 HEAD."
        )
    return JobAccess(address=address, token=token, token_variables=variables)


def _check(address: str) -> None:
    if not _is_of_a_server(address):
        raise SpecError(
            f"--address {address}: expected the cluster's job server as http://HOST:PORT, e.g. "
            "http://127.0.0.1:8265. It is the address of Ray's dashboard; port 6379 and ray:// "
            "belong to something else."
        )


def _is_of_a_server(address: str) -> bool:
    try:
        parts = urlsplit(address)
        is_one = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return False  # A port that is none, or half an IPv6 address.
    return bool(is_one) and not (parts.path or parts.query or parts.fragment or parts.username)


def _token(
    file: Path | None, shell: Mapping[str, str], home: Path, *, is_local: bool
) -> tuple[str | None, str]:
    if file is None and shell.get(TOKEN_PATH_VARIABLE):
        file = Path(shell[TOKEN_PATH_VARIABLE])
    if file is not None:
        where = file.expanduser().absolute()
        return _read(where), f"RAY_AUTH_MODE=token {TOKEN_PATH_VARIABLE}={where} "
    if shell.get(TOKEN_VARIABLE):
        return shell[TOKEN_VARIABLE], "RAY_AUTH_MODE=token "
    if is_local and (home / DEFAULT_TOKEN).is_file():
        return _read(home / DEFAULT_TOKEN), "RAY_AUTH_MODE=token "
    return None, ""


def _read(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{file}: the token of --address cannot be read: {error}.") from error
    if len(token.split()) != 1:
        raise SpecError(f"{file}: expected the token of --address, and nothing else.")
    return token


def _is_this_machine(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
