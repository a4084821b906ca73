"""`--budget 25m`: how long a command may take, in words, and when that is over."""

import re
import time

from lengthgen.errors import ConfigError

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def deadline(text: str | None) -> float | None:
    """The time (time.time()) at which the budget is spent that begins now. None without one."""
    return None if text is None else time.time() + seconds(text)


def seconds(text: str) -> float:
    """`90s`, `25m`, `1h30m`, `2d` in seconds. ConfigError."""
    parts = PART.findall(text)
    total = sum(float(number) * SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not total:
        raise ConfigError(f"--budget {text}: expected a time such as 90s, 25m, 1h30m or 2d")
    return total
