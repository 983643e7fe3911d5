"""A browser without a window, for tests of pages: Chromium, spoken to by the W3C's WebDriver protocol."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
WIDTH, HEIGHT = 1280, 800
PATIENCE = 90  # seconds to wait for what a page should show
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    f"--window-size={WIDTH},{HEIGHT}",
)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Browser:
    """An open browser, by the address of its WebDriver session."""

    session: str

    def open(self, address: str) -> None:
        """Go to a page; a new part after # alone would not load it again."""
        self._ask("POST", "/url", {"url": "about:blank"})
        self._ask("POST", "/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self) -> str:
        """All words that can be read on the page, and those that lie below."""
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def boxes(self, text: str) -> list[tuple[float, float, float, float]]:
        """Where pieces of text that contain these letters can be seen: left, upper, right, lower, in pixels.

        Text that something lies over, or that a frame cuts off, cannot be seen; nor can any while a page is changed.
        """
        with suppress(OSError):
            return [tuple(box) for box in self.run(BOXES, text)]
        return []

    def wait_for(self, *texts: str) -> None:
        """Wait until all these can be seen, in the window without scrolling."""
        limit = time.monotonic() + PATIENCE
        while missing := [text for text in texts if not self.boxes(text)]:
            assert time.monotonic() < limit, f"{missing} cannot be seen on the page that says:\n{self.text()[:3000]}"
            time.sleep(0.3)

    def click(self, selector: str) -> bool:
        """Click the first element of a selector, if there is one."""
        script = "const e = document.querySelector(arguments[0]); if (e) e.click(); return Boolean(e)"
        return bool(self.run(script, selector))

    def picture(self, file: Path) -> None:
        """What the window shows, as a PNG file."""
        file.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def _ask(self, method: str, path: str, said: Any = None) -> Any:
        return ask(method, self.session + path, said)


BOXES = """
const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  if (!walk.currentNode.textContent.includes(arguments[0])) continue;
  const range = document.createRange();
  range.selectNodeContents(walk.currentNode);
  const box = range.getBoundingClientRect(), parent = walk.currentNode.parentElement;
  const inside = box.width && box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;
  if (!inside) continue;
  const top = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
  const svg = parent instanceof SVGElement;
  if (svg || (top && (parent.contains(top) || top.contains(parent)))) {
    found.push([box.left, box.top, box.right, box.bottom]);
  }
}
return found;
"""


def ask(method: str, address: str, said: Any = None) -> Any:
    """The value of a WebDriver's answer."""
    body = None if said is None else json.dumps(said).encode()
    request = Request(address, body, {"Content-Type": "application/json"}, method=method)
    with urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)["value"]


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser that keeps what it must in a folder."""
    assert CHROMIUM and DRIVER
    port = free_port()
    process = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address, limit = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
        while True:
            with suppress(OSError):
                ask("GET", f"{address}/status")
                break
            assert time.monotonic() < limit, "chromedriver does not answer"
            time.sleep(0.1)
        options = {"binary": CHROMIUM, "args": [*ARGUMENTS, f"--user-data-dir={folder}"]}
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
        session = f"{address}/session/{ask('POST', f'{address}/session', wanted)['sessionId']}"
        try:
            metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
            command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
            ask("POST", f"{session}/goog/cdp/execute", command)  # the window's inside, without bars
            yield Browser(session)
        finally:
            ask("DELETE", session)
    finally:
        process.terminate()
        process.wait()
