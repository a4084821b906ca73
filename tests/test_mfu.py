"""Model FLOPs utilisation: the formula against torch's counter, peaks by name, and CPU runs."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lengthgen import files, model, schemes
from lengthgen.model import flops
from lengthgen.model.settings import ModelConfig
from lengthgen.runs import mfu, run

from .test_run import draw  # noqa: F401


@pytest.mark.parametrize("shape", [{}, {"mlp_ratio": 2.0}, {"activation": "swiglu", "width": 96}])
def test_the_formula_counts_what_torch_counts_with_all_pairs(shape):
    config = ModelConfig(n_layers=2, n_heads=2, **{"width": 32, **shape})
    kind = schemes.load("none")
    made = model.build(config, kind, kind.Config(), train_length=16, vocab_size=50, seed=0)
    made.use_kernel("sdpa")
    made.use_linear("torch")
    tokens = torch.arange(32).reshape(2, 16)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        made.losses(tokens, tokens)
    assert counter.get_total_flops() == 2 * flops.forward(config, 50, 16, 16, attention=1.0)
    assert flops.train_token(config, 50, 16) == 3 * flops.forward(config, 50, 16, 16) / 16


@pytest.mark.parametrize(
    ("name", "precision", "tf32", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", False, 989.5e12),
        ("NVIDIA H100 80GB HBM3", "fp32", False, 67e12),
        ("NVIDIA H100 80GB HBM3", "fp32", True, 494.5e12),
        ("NVIDIA H100 PCIe", "bf16", False, 756.5e12),
        ("NVIDIA H200", "bf16", False, 989.5e12),
        ("NVIDIA A100-SXM4-40GB", "bf16", True, 312e12),
        ("NVIDIA L40S", "bf16", False, 362e12),
        ("NVIDIA L40", "bf16", False, 181e12),
        ("NVIDIA A10G", "bf16", False, None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bf16", False, None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16", False, None),
        ("Tesla V100-SXM2-16GB", "fp32", False, None),
        ("", "bf16", False, None),
    ],
)
def test_peaks_by_name(name, precision, tf32, peak):
    assert mfu.peak_of(name, precision, tf32) == peak


def on_gpu(name, monkeypatch, **config):
    """A run as `of_training` sees it."""
    properties = SimpleNamespace(name=name)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    config = {"model": ModelConfig(), "settings": SimpleNamespace(train_length=512)} | config
    splits = SimpleNamespace(vocab_size=257)
    device = torch.device("cuda")
    return SimpleNamespace(
        config=SimpleNamespace(**config), splits=splits, device=device, precision="bf16"
    )


def test_the_share_of_the_peak(monkeypatch):
    h100 = on_gpu("NVIDIA H100 80GB HBM3", monkeypatch)
    share = mfu.of_training(h100, 1e6)
    # 6 FLOPs a weight and token, and 6 width T of attention a layer.
    weights = 4 * 12 * 128**2 + 257 * 128
    assert share == pytest.approx(1e6 * (6 * weights + 4 * 6 * 128 * 512) / 989.5e12)
    assert mfu.of_training(on_gpu("Some GPU", monkeypatch), 1e6) is None
    pretrained = on_gpu("NVIDIA H100 80GB HBM3", monkeypatch, model=object())
    assert mfu.of_training(pretrained, 1e6) is None


def test_the_metrics_of_a_cpu_run_say_nothing_and_those_with_a_peak_do(ask, monkeypatch, caplog):
    plain = run.train(ask(), [])
    rows = files.read_jsonl(plain.folder / "metrics.jsonl")
    assert rows and not any("train/mfu" in row for row in rows)
    monkeypatch.setattr(mfu, "of_training", lambda run, speed: 0.4321)
    caplog.set_level("INFO", "lengthgen")
    other = run.train(ask(seed=1), [])
    rows = files.read_jsonl(other.folder / "metrics.jsonl")
    assert [row["train/mfu"] for row in rows if "train/loss" in row].count(0.4321) >= 1
    assert "tokens/s  43.2 % of peak FLOPs" in caplog.text
