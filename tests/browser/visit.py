"""A page that is being looked at, with all that its browser complains about."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, Page

AXE = Path(__file__).parent / "data" / "axe.min.js"
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
# A theme changes colours and nothing else.
EVERY_RULE, RULES_OF_COLOUR = "{}", '{runOnly: ["color-contrast", "link-in-text-block"]}'
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
Look = Callable[..., AbstractAsyncContextManager[Page]]


@asynccontextmanager
async def visit(
    browser: Browser,
    url: str,
    *,
    theme: Theme = "light",
    width: int = 1280,
    height: int = 900,
    refused: bool = False,
    **options: Any,
) -> AsyncIterator[Page]:
    """Open `url`; fail in the end if the browser complained, also about what its content policy forbids.

    `refused` allows the one complaint that an answer of 4xx makes.
    """
    page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme, **options)
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        await page.goto(url)
        yield page
        assert [c for c in complaints if not (refused and "Failed to load resource" in c)] == []
    finally:
        await page.close()


async def wait_until_live(page: Page) -> None:
    """Return once the feed has brought the cards."""
    await page.wait_for_selector("#feed[data-state=live]")


async def axe_violations(page: Page) -> list[str]:
    """Return what axe finds wrong, in either theme, for people who use assistive technology."""
    session = await page.context.new_cdp_session(page)
    # By the debugger, since the page's content policy forbids scripts that are not its own.
    await session.send("Runtime.evaluate", {"expression": _axe()})
    found: list[str] = []
    for theme, rules in zip(THEMES, (EVERY_RULE, RULES_OF_COLOUR), strict=True):
        await page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # a colour on its way would be judged
        answer = await session.send(
            "Runtime.evaluate",
            {"expression": f"axe.run(document, {rules}).then(r => JSON.stringify(r.violations))", "awaitPromise": True},
        )
        violations = json.loads(answer["result"]["value"])
        found += [f"{theme}: {v['id']}: {node['html'][:120]}" for v in violations for node in v["nodes"]]
    return found


@cache
def _axe() -> str:
    return AXE.read_text()
