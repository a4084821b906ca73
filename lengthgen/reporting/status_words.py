"""How figures, pages and tables word the status of a length without a value."""

STATUS_WORDS = {
    "refused": "refuses",
    "oom": "out of memory",
    "nonfinite": "not finite",
    "leak": "leaks",
}
