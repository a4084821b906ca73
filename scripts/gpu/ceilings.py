"""What the device can do at most, into a JSON file: TFLOP/s of products, TB/s of copies. Torch.

ceilings.py FILE [--tiny]      --tiny: small ones, on the CPU
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch


def seconds(call: Callable[[], object], device: str, calls: int = 10, rounds: int = 5) -> float:
    """The median over rounds of the mean time of a call, after three to warm up."""

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(3):
        call()
    times = []
    for _ in range(rounds):
        wait()
        began = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        times.append((time.perf_counter() - began) / calls)
    return statistics.median(times)


def main(file: str, tiny: bool) -> int:
    device = "cpu" if tiny else "cuda"
    size, length = (128, 2**16) if tiny else (8192, 2**30)
    # Random numbers: a product of zeros takes less power, and so less time.
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = seconds(lambda: a @ b, device)
    source = torch.ones(length, device=device)
    target = torch.empty_like(source)
    copy = seconds(lambda: target.copy_(source), device)
    moved = 2 * source.numel() * source.element_size()  # read and written
    facts = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "matrix_size": size,
        "bf16_tflops": round(2 * size**3 / product / 1e12, 3),
        "copy_bytes": moved,
        "copy_tb_per_second": round(moved / copy / 1e12, 4),
    }
    Path(file).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--tiny" in sys.argv))
