"""Pages as a browser reads them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

MARKUP = "</style></title><script>document.title='owned'</script><img src=x onerror=alert(1)>"


class Seen(HTMLParser):
    """What a page consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


def squeezed(markdown: str) -> str:
    """Return Markdown without the padding that aligns its tables."""
    return re.sub(r" +", " ", markdown)
