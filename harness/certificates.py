"""Whom this machine trusts: the certificates that its own programs are given."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UnavailableError

VARIABLE = "LOSSMETER_CA_BUNDLE"
# Read by the library that downloads; it brings certificates of its own where it is not set.
_LIBRARY_VARIABLE = "REQUESTS_CA_BUNDLE"
_USUAL = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


def bundle() -> Path:
    """Return the file of the certificates that this machine trusts.

    Behind a proxy that ends TLS, its certificate must be among them.

    Raises:
        UnavailableError: there is none, or the one that was named does not exist.
    """
    named = os.environ.get(VARIABLE)
    if named and not Path(named).is_file():
        raise UnavailableError(f"{VARIABLE} names {named}, and there is no such file")
    for name in (named, ssl.get_default_verify_paths().cafile, *_USUAL):
        if name and Path(name).is_file():
            return Path(name)
    raise UnavailableError(
        f"no bundle of certificates was found on this machine; name one in {VARIABLE}"
    )


@contextmanager
def trusted_by_downloads() -> Iterator[None]:
    """Have downloads trust whom this machine trusts, unless the user has said whom."""
    if _LIBRARY_VARIABLE in os.environ:
        yield
        return
    os.environ[_LIBRARY_VARIABLE] = str(bundle())
    try:
        yield
    finally:
        del os.environ[_LIBRARY_VARIABLE]
