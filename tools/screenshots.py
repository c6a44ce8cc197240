"""Take the pictures of the README: the desk and the phone, light and dark, Chinese and English, wide and narrow.

    python tools/screenshots.py                      # starts a demo of its own, plays a little, writes into shots/
    python tools/screenshots.py --url http://127.0.0.1:8000    # uses a demo that runs already

Needs Chromium on the PATH. What is played is what the pictures show, so they cannot show what is not there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

ROOT = Path(__file__).resolve().parent.parent
SHOTS = ROOT / "shots"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = {"width": 1440, "height": 900}
NARROW = {"width": 390, "height": 844}
PLAYED = {
    "wmDEMO_zhouyuan_0001": ["怎么申请退款？", "那运费呢？", "你们支持火星配送吗"],
    "wmDEMO_shenjianing_003": ["我的快递三天没动了，今天必须收到，转人工"],
    "wmDEMO_liangxiaoman_02": ["今天天气怎么样，转人工"],
}
REPLY = "周先生您好，我是值班的同事。火星暂时送不到，国内包邮。"


@contextmanager
def demo() -> Iterator[str]:
    """A demo of our own on a free port, with data that is thrown away."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="zhiban-shots-") as data:
        command = [str(Path(sys.executable).parent / "zhiban"), "demo", "--port", str(port)]
        process = subprocess.Popen(command, env={**os.environ, "ZHIBAN_DATA": data}, cwd=ROOT)
        try:
            wait_for(f"{url}/health", process)
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


def wait_for(url: str, process: subprocess.Popen[bytes], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"zhiban demo ended with {process.returncode}.")
        try:
            urllib.request.urlopen(url, timeout=2).read()
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        else:
            return
    raise SystemExit("zhiban demo did not become ready.")


@asynccontextmanager
async def tab(
    browser: Browser, url: str, *, size: dict[str, int], dark: bool = False, english: bool = False, scale: int = 1
) -> AsyncIterator[Page]:
    context = await browser.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        color_scheme="dark" if dark else "light",
        locale="en-GB" if english else "zh-CN",
        timezone_id="Asia/Shanghai",
        device_scale_factor=scale,
        has_touch=scale > 1,
    )
    await context.add_cookies(
        [
            {"name": "zhiban_locale", "value": "en" if english else "zh", "url": url},
            {"name": "zhiban_theme", "value": "dark" if dark else "light", "url": url},
        ]
    )
    page = await context.new_page()
    yield page
    await context.close()


async def shoot(page: Page, name: str) -> None:
    await page.wait_for_timeout(350)  # transitions and the suggestion come to rest
    await page.screenshot(path=SHOTS / f"{name}.png")
    print(f"shots/{name}.png")


async def play(page: Page, url: str) -> None:
    """Say on the phone what the pictures need."""
    for who, sentences in PLAYED.items():
        await page.goto(f"{url}/demo/phone?who={who}")
        await page.wait_for_selector("html[data-ready]")
        for sentence in sentences:
            message_views = await page.locator(".wx").count()
            await page.fill("#ph-form input", sentence)
            await page.press("#ph-form input", "Enter")
            await page.locator(".wx").nth(message_views + 1).wait_for()


async def desk(page: Page, url: str, path: str = "/?queue=unassigned") -> None:
    await page.goto(f"{url}/demo/desk?next={path}")
    await page.wait_for_selector("html[data-ready]")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit("Chromium is missing; on Debian: apt-get install chromium fonts-noto-cjk")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        await browser.close()


async def take(url: str) -> None:
    SHOTS.mkdir(exist_ok=True)
    async with chromium() as browser:
        async with tab(browser, url, size=WIDE) as page:
            await play(page, url)
            await page.goto(f"{url}/demo/phone?who=wmDEMO_zhouyuan_0001")
            await page.wait_for_selector("html[data-ready]")
            await shoot(page, "phone-light")
            await page.locator(".tap").last.click()
            await page.wait_for_selector("#ph-inside .chip[data-tone=open]")
            await shoot(page, "phone-handed-off")
            await desk(page, url)
            await shoot(page, "desk-list")
            await page.click(".conv:has-text('周予安')")
            await page.wait_for_selector("#compose")
            await shoot(page, "desk-light")
            await page.keyboard.type(REPLY)
            await page.keyboard.press("Enter")
            await page.wait_for_selector(".receipt:has-text('已发出')")
            await shoot(page, "desk-replied")
            conversation = await page.get_attribute("#thread", "data-id")
        thread = f"/conversations/{conversation}?queue=all"
        for name, dark, english, size in (
            ("desk-dark", True, False, WIDE),
            ("desk-english", False, True, WIDE),
            ("desk-thread-narrow", False, False, NARROW),
        ):
            async with tab(
                browser, url, size=size, dark=dark, english=english, scale=2 if size is NARROW else 1
            ) as page:
                await desk(page, url, thread)
                await shoot(page, name)
        async with tab(browser, url, size=NARROW, dark=True, scale=2) as page:
            await desk(page, url, "/?queue=all")
            await shoot(page, "desk-list-narrow-dark")
        async with tab(browser, url, size=WIDE, dark=True) as page:
            await page.goto(f"{url}/demo/phone?who=wmDEMO_zhouyuan_0001")
            await page.wait_for_selector("html[data-ready]")
            await shoot(page, "phone-dark")
            await page.goto(f"{url}/login")
            await shoot(page, "login-dark")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a demo that runs already")
    wish = parser.parse_args()
    if wish.url:
        asyncio.run(take(wish.url.rstrip("/")))
    else:
        with demo() as url:
            asyncio.run(take(url))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
