"""Model FLOPs utilisation: the share of a GPU's peak that the arithmetic of a model uses.

utilisation = tokens/s x FLOPs a token (model/flops.py) / peak. Source: Chowdhery et al., PaLM, JMLR
2023, section 4.1. Known for the GPUs of PEAKS; of others nothing is said.
"""

from dataclasses import dataclass

import torch

from lengthgen.model import flops
from lengthgen.model.settings import ModelConfig
from lengthgen.runs.prepare import Run

TERA = 1e12


@dataclass(frozen=True)
class Peak:
    """Dense FLOP/s (no sparsity), in units of 1e12, of matrix products in each precision."""

    bf16: float
    tf32: float
    fp32: float


# A part of the device's name -> its peak; of several that fit, the longest. NVIDIA's data sheets
# (where one gives a rate with sparsity, half of it): H100 and H200 Tensor Core GPU, GH200, HGX
# B200, A100 Tensor Core GPU, A10, L4, L40, L40S; for GeForce the white papers of Ada and of GA102,
# with sums in float32.
PEAKS = {
    "B200": Peak(2250, 1125, 75),
    "GH200": Peak(989.5, 494.5, 67),
    "H200": Peak(989.5, 494.5, 67),
    "H200 NVL": Peak(835.5, 417.5, 60),
    "H100": Peak(989.5, 494.5, 67),
    "H100 NVL": Peak(835.5, 417.5, 60),
    "H100 PCIe": Peak(756.5, 378, 51),
    "A100": Peak(312, 156, 19.5),
    "A10": Peak(125, 62.5, 31.2),
    "L4": Peak(121, 60, 30.3),
    "L40": Peak(181, 90.5, 90.5),
    "L40S": Peak(362, 183, 91.6),
    "RTX 4090": Peak(165.2, 82.6, 82.6),
    "RTX 3090": Peak(71, 35.6, 35.6),
}
SLOWER = {"MIG", "Laptop"}  # parts of devices, and others of the same name


def peak_of(name: str, precision: str, tf32: bool = False) -> float | None:
    """FLOP/s of a device by torch's name for it; None where it is not known.

    precision: "bf16" or "fp32". tf32: whether products in float32 are rounded to TF32.
    """
    words = name.split()
    known = [part for part in PEAKS if _within(part.split(), words)]
    if not known or SLOWER & set(words):
        return None
    peak = PEAKS[max(known, key=len)]
    if precision == "bf16":
        return peak.bf16 * TERA
    return (peak.tf32 if tf32 else peak.fp32) * TERA


def of_training(run: Run, tokens_per_second: float) -> float | None:
    """The share of the peak in the training of a run; None on a CPU, or where it is not known."""
    model = run.config.model
    if run.device.type != "cuda" or not isinstance(model, ModelConfig):
        return None
    name = torch.cuda.get_device_properties(run.device).name
    tf32 = torch.backends.cuda.matmul.allow_tf32
    peak = peak_of(name, run.precision, tf32)
    if peak is None:
        return None
    length, vocab = run.config.settings.train_length, run.splits.vocab_size
    return tokens_per_second * flops.train_token(model, vocab, length) / peak


def _within(part: list[str], words: list[str]) -> bool:
    """Whether the words of `part` stand in a row: H100 is in "NVIDIA H100 80GB HBM3", L4 not in
    "NVIDIA L40". What follows a hyphen is no part of a word: A100 is in "NVIDIA A100-SXM4-40GB".
    """
    plain = [word.split("-")[0] for word in words]
    return any(plain[i : i + len(part)] == part for i in range(len(plain)))
