"""What judges the pages can fail: in either theme."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from tests.browser.visit import THEMES, Theme, axe_violations

PAGE = """
<!doctype html><html lang="en"><head><title>t</title><style>
body {{ background: white; color: black }}
@media (prefers-color-scheme: {theme}) {{ body {{ background: #888; color: #999 }} }}
</style></head><body><main><h1>Grey on grey</h1></main></body></html>
"""


@pytest.mark.parametrize("theme", THEMES)
async def test_a_contrast_that_is_too_low_in_one_theme_is_found(browser: Browser, theme: Theme) -> None:
    page = await browser.new_page()
    await page.set_content(PAGE.format(theme=theme))
    found = await axe_violations(page)
    await page.close()
    assert [one.split(": ")[:2] for one in found] == [[theme, "color-contrast"]]
