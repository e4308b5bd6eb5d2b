"""Which repository of Maven's layout this machine downloads from: a company's own, or Central."""

from __future__ import annotations

import base64
import os
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit
from xml.etree import ElementTree as ET

from lossmeter.errors import CacheError

VARIABLE = "LOSSMETER_MAVEN_REPOSITORY"
# As in Maven's own super POM.
_CENTRAL = "https://repo.maven.apache.org/maven2"
_MIRRORS_CENTRAL = frozenset({"*", "central", "external:*"})


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository.

    Attributes:
        login: ``user:password``, where it demands one.
    """

    url: str
    login: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.url

    def request(self, path: str) -> urllib.request.Request:
        """Return the request for a file."""
        request = urllib.request.Request(f"{self.url}/{path}")  # noqa: S310 - as it is configured
        if self.login:
            login = base64.b64encode(self.login.encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
        return request


def repository() -> Repository:
    """Return the one that ``LOSSMETER_MAVEN_REPOSITORY`` names, Maven's settings, or Central.

    Raises:
        CacheError: Maven's settings cannot be read.
    """
    if named := os.environ.get(VARIABLE):
        return _of(named)
    for file in _settings():
        if (mirror := _mirror(file)) is not None:
            return mirror
    return Repository(_CENTRAL)


def _settings() -> Iterator[Path]:
    """Yield the files of Maven's settings that there are, the user's first."""
    homes = [os.environ.get(name, "") for name in ("MAVEN_HOME", "M2_HOME")]
    files = [Path(home) / "conf" / "settings.xml" for home in homes if home]
    if home := os.environ.get("HOME"):
        files.insert(0, Path(home) / ".m2" / "settings.xml")
    for file in files:
        if os.access(file, os.R_OK) and file.is_file():
            yield file


def _mirror(file: Path) -> Repository | None:
    """Return the mirror of Central that a file of settings names, or None."""
    try:
        root = ET.fromstring(file.read_bytes())  # noqa: S314 - the user's own file
    except (OSError, ET.ParseError) as error:
        raise CacheError(
            f"{file} cannot be read: {error}; correct it, or name a repository in {VARIABLE}"
        ) from None
    servers = {_text(each, "id"): each for each in root.iterfind("{*}servers/{*}server")}
    for each in root.iterfind("{*}mirrors/{*}mirror"):
        of = {name.strip() for name in _text(each, "mirrorOf").split(",")}
        if of & _MIRRORS_CENTRAL and "!central" not in of:
            login = servers.get(_text(each, "id"))
            if login is None:
                return _of(_text(each, "url"))
            user, password = _text(login, "username"), _text(login, "password")
            return Repository(_of(_text(each, "url")).url, f"{user}:{password}")
    return None


def _text(element: ET.Element, name: str) -> str:
    """Return the text of a child, with variables of the environment filled in."""
    text = (element.findtext(f"{{*}}{name}") or "").strip()
    return re.sub(r"\$\{env\.(\w+)\}", lambda found: os.environ.get(found[1], ""), text)


def _of(url: str) -> Repository:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https", "file"}:
        raise CacheError(f"{url!r} is not the address of a Maven repository; right is https://...")
    user, _, place = parts.netloc.rpartition("@")
    bare = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
    return Repository(bare, unquote(user))
