"""Which machine this is, into a JSON file: versions, the GPU, processors. Needs torch.

facts.py FILE [--tiny]      --tiny: no GPU is needed
"""

import json
import os
import platform
import sys
from pathlib import Path

import torch


def version(module: str) -> str | None:
    try:
        return __import__(module).__version__
    except ImportError:
        return None


def main(file: str, tiny: bool) -> int:
    facts = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        **{name: version(name) for name in ("triton", "numpy", "pandas", "scipy")},
        "cores": os.cpu_count(),
        "commit": os.environ.get("LENGTHGEN_COMMIT", "unknown"),
        "gpu": None,
    }
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        facts["gpu"] = {
            "name": gpu.name,
            "memory_gib": round(gpu.total_memory / 2**30, 1),
            "multiprocessors": gpu.multi_processor_count,
            "capability": f"{gpu.major}.{gpu.minor}",
        }
    Path(file).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    if facts["gpu"] is None and not tiny:
        print("no usable NVIDIA GPU; --dry-run rehearses without one")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--tiny" in sys.argv))
