"""The Hugging Face hub: is it reachable, and one file of it.

Fails in seconds with one line, where the library retries for 24 s. Any answer of the hub, an error
page too, counts as reachable. The environment's proxies are used.
"""

import queue
import threading
import urllib.error
import urllib.request
from pathlib import Path

from lengthgen.errors import DataError

SECONDS = 3.0  # longest wait for an answer, name look-up included


def offline() -> bool:
    """Whether the user has forbidden the hub by HF_HUB_OFFLINE=1."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def why_unreachable() -> str | None:
    """None if the hub answers within SECONDS, else the reason."""
    from huggingface_hub import constants

    if offline():
        return "HF_HUB_OFFLINE is set"
    answer: queue.Queue[str | None] = queue.Queue()
    # a thread, because a name look-up takes no time limit
    threading.Thread(target=lambda: answer.put(_probe(constants.ENDPOINT)), daemon=True).start()
    try:
        return answer.get(timeout=SECONDS + 0.5)
    except queue.Empty:
        return f"no answer from {constants.ENDPOINT} in {SECONDS:g} s"


def require(what: str, instead: str) -> None:
    """DataError unless the hub answers. what: is wanted from it; instead: what else can be done."""
    if reason := why_unreachable():
        raise DataError(_not_fetched(what, f"{reason}; connect,", instead))


def download(repository: str, file: str, instead: str) -> Path:
    """A file of a model repository, from the local cache or the hub. Raises DataError."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    what = f"{file} of {repository}"
    # No revision: such a file is data, never code, and its hash is a part of the run's identity.
    try:
        cached = huggingface_hub.hf_hub_download(  # nosec B615 # data, as said above
            repository, file, local_files_only=True
        )
        return Path(cached)
    except (LocalEntryNotFoundError, FileNotFoundError):
        require(what, instead)
    try:
        fetched = huggingface_hub.hf_hub_download(repository, file)  # nosec B615 # as above
        return Path(fetched)
    except Exception as error:  # many kinds, from three libraries
        raise DataError(_not_fetched(what, f"{first_line(error)};", instead)) from None


def first_line(error: Exception) -> str:
    """An exception as one short line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _not_fetched(what: str, reason: str, instead: str) -> str:
    return f"{what} cannot be fetched from the Hugging Face hub: {reason} or use {instead}"


def _probe(endpoint: str) -> str | None:
    try:
        request = urllib.request.Request(endpoint, method="HEAD")
        # The user's own HF_ENDPOINT; no byte of the answer is read.
        urllib.request.urlopen(request, timeout=SECONDS).close()  # nosec B310 # as said above
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as error:
        return f"{endpoint}: {getattr(error, 'reason', None) or error}"
    return None
