"""Draws the pictures in docs/: ``python -m tests.support.pictures RUN MATRIX DOCS``."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from tests.support.browser import picture
from tests.support.run_folders import save_page_of

# Name, width and height in pixels, dark.
LOOKS = (
    ("light", 1100, 1720, False),
    ("dark", 1100, 1720, True),
    ("narrow", 390, 1500, False),
    ("narrow-dark", 390, 1500, True),
)
COLOURS = 256


def main(run: Path, matrix: Path, docs: Path) -> None:
    """Write ``report-LOOK.png`` and ``matrix-LOOK.png``, small by a palette."""
    docs.mkdir(exist_ok=True)
    for name, page in (("report", save_page_of(run)), ("matrix", matrix)):
        for look, width_px, height_px, dark in LOOKS:
            file = docs / f"{name}-{look}.png"
            picture(page.resolve(), file.resolve(), width_px, height_px, dark=dark)
            with Image.open(file) as drawn:
                drawn.convert("RGB").quantize(COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
