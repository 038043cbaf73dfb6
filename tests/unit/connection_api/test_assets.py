"""What a browser has to load, and where what others wrote came from."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

from services.connection_api.dashboard.assets import FOLDER
from services.connection_api.dashboard.pages import PAGES

SCRIPTS_LIMIT = 60_000  # bytes, compressed
STYLES_LIMIT = 20_000
# htmx.org 2.0.11 of the npm registry, dist/htmx.min.js
HTMX_SHA256 = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"


def compressed(pattern: str) -> int:
    return sum(len(gzip.compress(path.read_bytes(), 6)) for path in FOLDER.rglob(pattern))


def test_scripts_and_styles_are_small() -> None:
    assert compressed("*.js") <= SCRIPTS_LIMIT
    assert compressed("*.css") <= STYLES_LIMIT


def test_htmx_is_the_release_that_was_reviewed() -> None:
    script = (FOLDER / "vendor" / "htmx.min.js").read_bytes()

    assert hashlib.sha256(script).hexdigest() == HTMX_SHA256
    assert b'version:"2.0.11"' in script
    assert "Zero-Clause BSD" in (FOLDER / "vendor" / "htmx.LICENSE.txt").read_text("utf-8")


def test_every_vendored_script_has_its_licence() -> None:
    scripts = list((FOLDER / "vendor").glob("*.js"))

    assert scripts
    assert all(Path(str(path).replace(".min.js", ".LICENSE.txt")).exists() for path in scripts)


def test_no_page_has_an_inline_script_or_style() -> None:
    for template in PAGES.rglob("*.html"):
        text = template.read_text("utf-8")
        assert "style=" not in text, template.name
        assert "<style" not in text, template.name
        assert "<script>" not in text, template.name
        assert " onclick=" not in text, template.name
        assert "hx-on" not in text, template.name
