"""Requests to a target as its file says: its paths, headers and certificates."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import quote, urlencode

from lossmeter.errors import UsageError
from lossmeter.plan.http import Given, Http, check_header
from lossmeter.record.files import read_text, why
from lossmeter.world.http_client import Answer, connection, exchange


class Caller:
    """Speaks to a target as its file says: its paths, headers and certificates.

    Args:
        http: of the target's file.

    Attributes:
        headers: that go with every request, with their values.
        query: what follows the path of an event.
        certificates: PEM of what signs the target's own; empty without TLS.

    Raises:
        UsageError: a value or certificate is not where the file says, or cannot be used.
    """

    def __init__(self, http: Http) -> None:
        self._http = http
        self.headers = _values("http.headers", http.headers)
        for name, value in self.headers.items():
            try:
                check_header(name, value)
            except ValueError as error:
                raise UsageError(f"http.headers.{error}") from None
        self.query = urlencode(_values("http.query", http.query), quote_via=quote)
        self.certificates = _text("http.tls.ca", http.tls.ca) if http.tls else ""
        self._context = _verifying(self.certificates, http) if http.tls else None

    def connection(self, base_url: str, timeout_s: float) -> HTTPConnection:
        """Return a connection, not open yet, to an instance."""
        plain = connection(base_url, timeout_s)
        if self._context is None:
            return plain
        name = self._http.tls.server_name if self._http.tls else None
        return _Secure(plain.host, plain.port, timeout_s, self._context, name or plain.host)

    def exchange(
        self, over: HTTPConnection, path: str, *, method: str = "GET", body: bytes | None = None
    ) -> Answer:
        """Send one request over a connection; raises as the function ``exchange`` does."""
        return exchange(over, method, self._http.path(path), body, self.headers)

    def ask(
        self,
        base_url: str,
        path: str,
        timeout_s: float = 1.0,
        *,
        method: str = "GET",
        body: bytes | None = None,
    ) -> Answer | None:
        """Send one request; return None where nobody answers, or not in HTTP."""
        with closing(self.connection(base_url, timeout_s)) as over:
            try:
                return self.exchange(over, path, method=method, body=body)
            except (OSError, HTTPException):
                return None


class _Secure(HTTPConnection):
    """HTTPS to an address whose certificate may name another."""

    def __init__(
        self, host: str, port: int, timeout_s: float, context: ssl.SSLContext, name: str
    ) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._context, self._name = context, name

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)


def _verifying(certificates: str, http: Http) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=certificates)
    except (ssl.SSLError, ValueError):
        ca = http.tls.ca if http.tls else ""
        raise UsageError(f"http.tls.ca: {ca} holds no certificate in PEM") from None


def _values(where: str, given: Mapping[str, Given]) -> dict[str, str]:
    return {name: _value(f"{where}.{name}", value) for name, value in given.items()}


def _value(where: str, given: Given) -> str:
    if isinstance(given, str):
        return given
    if given.file is not None:
        found = _text(where, given.file).strip()
        lacks = f"{given.file} is empty"
    else:
        found = os.environ.get(str(given.env), "")
        lacks = f"the variable {given.env} is not set, or empty"
    if not found:
        raise UsageError(f"{where}: {lacks}")
    return given.prefix + found


def _text(where: str, path: Path) -> str:
    try:
        return read_text(path)
    except OSError as error:
        raise UsageError(f"{where}: {path} cannot be read: {why(error)}") from None
    except ValueError:
        raise UsageError(f"{where}: {path} is no UTF-8") from None
