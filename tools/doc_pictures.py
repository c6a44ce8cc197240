"""Take the pictures of the guides in docs/zh/tour and docs/en/tour, from a demo as a newcomer sees it.

    python tools/doc_pictures.py                             # starts a demo of its own, writes into docs/pictures/
    python tools/doc_pictures.py --url http://127.0.0.1:8000 # uses a demo that runs already
    python tools/doc_pictures.py --only agents-note          # those whose name begins like this

Needs Chromium on the PATH. tests/tools/test_doc_pictures.py holds the guides against the list below.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from urllib.parse import urlencode

from playwright.async_api import Page

from screenshots import NARROW, ROOT, chromium, demo, tab

PICTURES = ROOT / "docs" / "pictures"
SIZE = {"width": 1280, "height": 760}
REST = 700  # milliseconds in which a page that is drawn comes to rest


@dataclass(frozen=True)
class Picture:
    """Where to go on the desk, and what to do there before the picture is taken."""

    name: str
    path: str
    prepare: Callable[[Page], Awaitable[None]] | None = None
    typed: bool = False  # whether something was written that has to go again
    narrow: bool = False


async def _open_first(page: Page) -> None:
    await page.locator(".conv").first.click()
    await page.wait_for_selector("#compose")


async def _write_note(page: Page) -> None:
    await _open_first(page)
    await page.keyboard.press("Alt+p")
    await page.keyboard.type("@")


async def _choose_snippet(page: Page) -> None:
    await _open_first(page)
    await page.keyboard.press("Alt+l")
    await page.keyboard.type("/")


async def _command_bar(page: Page) -> None:
    await page.keyboard.press("Control+k")


async def _ask(page: Page) -> None:
    await page.fill("input[name=question]", "退货的钱多久到账")
    await page.press("input[name=question]", "Enter")
    await page.wait_for_timeout(REST)


LIST = (
    Picture("agents-list", "/?queue=unassigned"),
    Picture("agents-conversation", "/?queue=mine", _open_first),
    Picture("agents-note", "/?queue=mine", _write_note, typed=True),
    Picture("agents-snippets", "/?queue=mine", _choose_snippet, typed=True),
    Picture("agents-command-bar", "/?queue=all", _command_bar),
    Picture("agents-phone", "/?queue=mine", _open_first, narrow=True),
    Picture("supervisors-rules", "/rules"),
    Picture("supervisors-report", "/reports"),
    Picture("supervisors-assignment", "/settings/teams"),
    Picture("owners-inboxes", "/settings/inboxes"),
    Picture("owners-knowledge", "/knowledge", _ask),
    Picture("owners-audit", "/settings/audit"),
)


async def take(url: str, only: str) -> None:
    async with chromium() as browser:
        for language in ("zh", "en"):
            folder = PICTURES / language
            folder.mkdir(parents=True, exist_ok=True)
            for picture in LIST:
                if not picture.name.startswith(only):
                    continue
                size = NARROW if picture.narrow else SIZE
                async with tab(browser, url, size=size, english=language == "en") as page:
                    await page.goto(f"{url}/demo/desk?{urlencode({'next': picture.path})}")
                    if picture.prepare is not None:
                        await picture.prepare(page)
                    await page.wait_for_timeout(REST)
                    # JPEG: half as large as PNG here, and no hairline of these pages is lost.
                    await page.screenshot(path=folder / f"{picture.name}.jpg", type="jpeg", quality=75)
                    if picture.typed:
                        await page.fill("#compose textarea:visible", "")
                        await page.wait_for_timeout(2 * REST)  # until the draft is gone
                print(f"docs/pictures/{language}/{picture.name}.jpg")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a demo that runs already")
    parser.add_argument("--only", default="", help="the beginning of the names to take")
    wish = parser.parse_args()
    with nullcontext(wish.url.rstrip("/")) if wish.url else demo() as url:
        asyncio.run(take(url, wish.only))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
