"""Whom this machine trusts: the certificates that its own programs are given."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from lossmeter.errors import UnavailableError

VARIABLE = "LOSSMETER_CA_BUNDLE"
# Where many programs, and their users, name the bundle.
_USUAL_VARIABLE = "REQUESTS_CA_BUNDLE"
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
    usual = os.environ.get(_USUAL_VARIABLE)
    for name in (named, usual, ssl.get_default_verify_paths().cafile, *_USUAL):
        if name and Path(name).is_file():
            return Path(name)
    raise UnavailableError(
        f"no bundle of certificates was found on this machine; name one in {VARIABLE}"
    )
