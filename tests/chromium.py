"""A page in headless Chromium, driven by a script of its own, for tests of what a person does.

Needs the program alone: the driver runs within the page, and what it returns is read from the DOM
that Chromium prints at its end.
"""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

from lengthgen.reporting.page import assets

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WATCH = """
window.troubles = [];
for (const kind of ["error", "warn"]) console[kind] = (...words) => troubles.push(words.join(" "));
addEventListener("error", (event) => troubles.push(`error: ${event.message}`), true);
addEventListener("unhandledrejection", (event) => troubles.push(`rejected: ${event.reason}`));
addEventListener("securitypolicyviolation", (one) => troubles.push(`blocked: ${one.blockedURI}`));
"""
DRIVE = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
addEventListener("load", async () => {
  let found;
  try {
    found = await (async () => { %s })();
  } catch (error) {
    found = { failed: String(error.stack) };
  }
  const requests = performance.getEntriesByType("resource").map((one) => one.name);
  const output = document.createElement("pre");
  output.id = "found";
  output.textContent = JSON.stringify({ ...found, troubles, requests });
  document.body.append(output);
});
"""


def visit(page: str, folder: Path, script: str, width: int = 1440, dark: bool = False) -> dict:
    """What `script`, the body of an async function, returns in `page`, opened from file://.

    troubles: errors, warnings and what the page's policy blocked; requests: what it loaded.
    """
    assert PROGRAM is not None
    before, after = WATCH, DRIVE % script
    allowed = " ".join(map(assets.allowed, (before, after)))
    page = page.replace("script-src ", f"script-src {allowed} ", 1)
    page = page.replace("<style>", f"<script>{before}</script><style>", 1)
    page = page.replace("</body>", f"<script>{after}</script></body>", 1)
    path = folder / "driven.html"
    path.write_text(page, encoding="utf-8")
    command = [
        PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--virtual-time-budget=20000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    process = subprocess.run(command, capture_output=True, text=True, timeout=180)
    found = re.search(r'<pre id="found">(.*?)</pre>', process.stdout, flags=re.S)
    assert found, process.stderr[-2000:]
    return json.loads(html.unescape(found[1]))
