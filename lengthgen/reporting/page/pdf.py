"""The page on paper: printed by a Chromium of this machine, as its print dialogue would.

The folds of its sections are open on paper; those within them, such as tables of a curve's
numbers, are not.
"""

import os
import shutil
import subprocess  # nosec B404 # a browser that the user has, with a page that was written here
import tempfile
from pathlib import Path

from lengthgen import files
from lengthgen.errors import ConfigError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 300  # seconds: a page of every study takes ten
OPEN = "#print"  # page.js opens the folds of the sections there


def program() -> str | None:
    """The browser, if there is one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def print_page(page: Path, to: Path) -> None:
    """Write the PDF `to` of a page. ConfigError without a browser, or where it makes none."""
    browser = program()
    if browser is None:
        raise ConfigError(
            f"--pdf {to} needs Chromium or Chrome to print, and there is none; expected one of "
            f"{', '.join(PROGRAMS)} on the PATH: install it, or print {page} from any browser"
        )
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "page.pdf"
        command = [
            browser, "--headless", "--disable-gpu", "--no-pdf-header-footer",
            f"--user-data-dir={folder}/profile", "--virtual-time-budget=10000",
            f"--print-to-pdf={made}", page.absolute().as_uri() + OPEN,
        ]  # fmt: skip
        if os.geteuid() == 0:  # Chromium refuses to run as root otherwise
            command.insert(1, "--no-sandbox")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)  # nosec B603 # no shell
            said = done.stderr.strip().splitlines()[-1:]
        except (OSError, subprocess.TimeoutExpired) as error:
            said = [str(error)]
        if not made.is_file():
            raise ConfigError(
                f"{browser} printed no page ({' '.join(said)}); print {page} from any browser"
            )
        files.write_bytes(to, made.read_bytes())
