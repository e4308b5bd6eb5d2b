"""Builds Toxiproxy with Go from the modules that ``toxiproxy_build/go.sum`` pins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lossmeter.world.install.go_modules import GoModules

BINARY = "toxiproxy-server"
SECRET_VARIABLE = "TOXIPROXY_SECRET"  # noqa: S105 - the name of one
SECRET_FILE_VARIABLE = "TOXIPROXY_SECRET_FILE"  # noqa: S105 - likewise
_MODULE = "github.com/Shopify/toxiproxy/v2"
MODULES = GoModules("toxiproxy", Path(__file__).with_name("toxiproxy_build"))


def locked_version() -> str:
    """Return the version of Toxiproxy that go.mod asks for, e.g. ``2.12.0``."""
    return MODULES.version(_MODULE)


def fingerprint() -> str:
    """Return a short name for the modules that the build is made from."""
    return MODULES.fingerprint()


def build(to: Path, say: Callable[[str], None]) -> None:
    """Build the server's binary into a folder; whatever else is needed leaves no trace.

    Raises:
        CacheError: Go or a module could not be had, or a checksum is wrong.
    """
    with MODULES.workshop(to, say) as shop:
        shop.download(say)
        say(f"toxiproxy: building {locked_version()} with {shop.go_version()}")
        # Without the version the binary would call itself "git".
        stamp = f"-X {_MODULE}.Version={locked_version()}"
        shop.build(".", to / BINARY, stamp)
