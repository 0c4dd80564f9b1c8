"""A headless Chromium for tests, driven over WebDriver (W3C) with the standard library: no package, no network.

Needs chromium and chromedriver on the path (Debian: chromium, chromium-driver).
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
LACKS = "" if BROWSER and DRIVER else "chromium and chromedriver are not on the path"
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Page:
    """A tab of a browser that a driver at ``address`` starts; ``folder`` takes its profile."""

    def __init__(self, address: str, folder: Path):
        options = {
            "binary": BROWSER,
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}"],
        }  # fmt: skip
        asked = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.address = address
        self.address = f"{address}/session/{self.call('/session', capabilities={'alwaysMatch': asked})['sessionId']}"

    def call(self, path: str, **body: Any) -> Any:
        request = urllib.request.Request(self.address + path, json.dumps(body).encode())
        with LOCAL.open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, path: Path, anchor: str = "") -> None:
        self.call("/url", url="about:blank")  # else another anchor of the same page loads nothing
        self.call("/url", url=path.resolve().as_uri() + anchor)

    def reload(self) -> None:
        self.call("/refresh")

    def run(self, script: str, *args: Any) -> Any:
        """What the body of a function returns; it may await."""
        return self.call("/execute/sync", script=f"return (async function() {{ {script} }}).apply(null, arguments)",
                         args=list(args))  # fmt: skip

    def devtools(self, command: str, **params: Any) -> Any:
        return self.call("/goog/cdp/execute", cmd=command, params=params)

    def scheme(self, name: str) -> None:
        """light or dark, as the system says it."""
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def size(self, width: int, height: int = 900) -> None:
        """Of the window, in CSS pixels, as on a phone where it is narrow."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                      mobile=width < 600)  # fmt: skip

    def press(self, key: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.devtools("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def log(self) -> list[str]:
        """What the console said since the last call."""
        return [f"{entry['level']}: {entry['message']}" for entry in self.call("/se/log", type="browser")]

    def picture(self, path: Path, whole: bool = False) -> None:
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Page]:
    """A browser, with its files in an empty folder; ends with its driver."""
    port = folder / "port"
    with port.open("wb") as out:
        home = os.environ | {"HOME": str(folder)}
        driver = subprocess.Popen([DRIVER, "--port=0"], stdout=out, stderr=subprocess.STDOUT, env=home)
    try:
        end = time.monotonic() + 30
        while "successfully on port" not in (said := port.read_text(encoding="utf-8")):
            if time.monotonic() > end or driver.poll() is not None:
                raise RuntimeError(f"chromedriver does not start: {said}")
            time.sleep(0.05)
        number = said.rpartition("successfully on port ")[2].split(".")[0]
        page = Page(f"http://127.0.0.1:{number}", folder / "profile")
        try:
            yield page
        finally:
            LOCAL.open(urllib.request.Request(page.address, method="DELETE"), timeout=30).close()
    finally:
        driver.terminate()
        driver.wait(30)
