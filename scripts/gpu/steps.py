"""The steps of the four parts, most important first, with the time limit of each in seconds.

Every command starts in FOLDER, so that what provenance records is what anyone can type. `tiny`: the
same commands at sizes that two CPU cores do in seconds.
"""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from gpu.running import Step

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUDGETS = {"A": 220, "B": 200, "C": 500, "D": 300}  # seconds, unless --budget says otherwise
SCHEMES = "learned", "sinusoidal", "none", "rope", "alibi", "t5_bias"
SEEDS = "0,1,2"
# One process each: schemes of the same process share what torch.compile made, and seeds come first
# in the order of a sweep, so that what a time limit leaves is whole seeds.
TOGETHER = "t5_bias,learned", "alibi,sinusoidal", "rope,none"
RETROFITS = "none,position_interpolation,ntk,dynamic_ntk,yarn,hard_window,rerope"  # of part D


@dataclass(frozen=True)
class Place:
    """What differs between a GPU and a rehearsal."""

    tiny: bool
    text: tuple[str, ...]  # overrides that choose the text
    changed: tuple[str, ...] = ()  # overrides of the trainings of C and D

    @property
    def device(self) -> str:
        return "cpu" if self.tiny else "cuda"


def of_part(part: str, place: Place) -> list[Step]:
    parts = {"A": correctness, "B": benchmark, "C": evidence, "D": pretrained}
    return parts[part](place)


def correctness(place: Place) -> list[Step]:
    """Does it compute on this GPU what it computes elsewhere?"""
    tiny = ["--tiny"] if place.tiny else []
    steps = "12" if place.tiny else "100"
    small = [
        "model=nano" if place.tiny else "model=tiny", "train_length=128", "batch_size=8",
        "precision=fp32", "log_every=1", "validate_every=0", "evaluation=quick",
        "evaluation.documents=2", "tracking=none", *place.text,
    ]  # fmt: skip
    short = [*small, "precision=auto", "train_length=64" if place.tiny else "train_length=512"]
    short = [word for word in short if word not in ("precision=fp32", "train_length=128")]
    short += ["steps=3" if place.tiny else "steps=60", f"device={place.device}"]
    stopped = [*small, "steps=60" if place.tiny else "steps=200", f"device={place.device}"]

    def both(device: str, folder: str, *words: str) -> list[str]:
        return _lengthgen(
            "train", "scheme=t5_bias", *small, f"steps={steps}", f"device={device}",
            "threads=4", f"results=A/{folder}", *words,
        )  # fmt: skip

    return [
        Step("facts", 30, [_own("facts.py", "A/facts.json", *tiny)]),
        Step("ceilings", 40, [_own("ceilings.py", "A/ceilings.json", *tiny)]),
        Step("tests", 150, [_tests(place)]),
        Step("train_compiled", 120, [_lengthgen(
            "train", "scheme=t5_bias", *short, "compile=true", "results=A/compiled")], beside=True),
        Step("cuda_and_cpu", 100, [
            both(place.device, "device"),
            both("cpu", "cpu"),
            _own("compare.py", "A/device", "A/cpu", "A/cuda_and_cpu.json"),
            both("cpu", "other_kernels", "kernel=reference", "linear=torch"),
            _own("compare.py", "A/other_kernels", "A/cpu", "A/two_cpu_kernels.json"),
        ], beside=True),
        Step("stop_and_resume", 100, [_own(
            "stop_and_resume.py", "A/resume", "--", "scheme=t5_bias", *stopped)], beside=True),
        Step("train_fox", 100, [_lengthgen(
            "train", "scheme=fox", *short, "results=A/fox")], beside=True),
    ]  # fmt: skip


def benchmark(place: Place) -> list[Step]:
    """Training and evaluation of GPT-2's shape, 32,768 tokens a step.

    Each command measures its schemes in turns with `none`, so that ratios are paired; a scheme
    that fails is a row with its reason.
    """
    gpt2 = {"layers": 12, "width": 768, "heads": 12, "length": 1024, "batch": 32, "vocab": 50304}
    rounds, tokens, gradient = "5", "32768", ["--tiles", "64x64,128x64", "--shapes", "1"]
    if place.tiny:
        gpt2 = {"layers": 1, "width": 32, "heads": 2, "length": 32, "batch": 1, "vocab": 64}
        rounds, tokens, gradient = "1", "64", [*gradient, "--scale", "64"]
    size = [word for name, value in gpt2.items() for word in (f"--{name}", str(value))]
    size += ["--rounds", rounds]

    def bench(name: str, seconds: float, what: str, *words: str) -> Step:
        common = ["--device", place.device, "--out", f"B/{name}"]
        if place.tiny:
            common += ["--seconds", "0"]
        return Step(name, seconds, [_lengthgen("bench", what, *words, *common)])

    return [
        bench("compiled", 150, "train", *size, "--compile", "--schemes", "t5_bias,alibi,rope"),
        bench("eager", 40, "train", *size, "--schemes", "t5_bias,alibi,rope"),
        bench("dense", 30, "train", *size, "--kernel", "sdpa", "--schemes", "t5_bias"),
        bench("memory", 60, "memory", *size, "--tokens", tokens, "--schemes", "t5_bias,alibi"),
        bench("bias_gradient", 90, "bias_gradient", *gradient),
        bench("compiled_more", 120, "train", *size, "--compile", "--schemes", "fire,fox"),
    ]


def evidence(place: Place) -> list[Step]:
    """Six schemes and three seeds of the preset small_512: what each does past its training."""
    seeds, smaller = SEEDS, []
    if place.tiny:
        seeds = "0,1"
        smaller = [
            "model=nano", "train_length=32", "batch_size=2", "steps=6", "evaluation.documents=12",
        ]  # fmt: skip
    sweeps = [
        _lengthgen(
            "train", "-m", "+experiment=gpu/small_512", f"seed={seeds}", f"scheme={schemes}",
            *place.text, f"device={place.device}", "tracking=none", *smaller, *place.changed,
        )
        for schemes in TOGETHER
    ]  # fmt: skip
    # Tokenises the text once, before three processes would.
    words = ["model=nano", "steps=1", "batch_size=1", "evaluation=quick", "evaluation.documents=1"]
    text = _lengthgen(
        "train", *words, *place.text, "device=cpu", "tracking=none", "results=cache/text_read"
    )
    return [Step("text", 60, [text]), Step("evidence", 600, sweeps, together=True, resumes=True)]


def pretrained(place: Place) -> list[Step]:
    """SmolLM2 at and past the 8,192 tokens of its training: retrofits, and a training by LoRA."""
    few_tokens = ["train_length=1024", "evaluation.lengths=[1024,2048]", "evaluation.documents=2"]
    at = ["evaluation.lengths=[2048,4096,8192,12288,16384,32768]", "evaluation.documents=16"]
    longer, trained = [], ["train_length=16384", "steps=100"]
    if place.tiny:
        few_tokens = ["train_length=32", "evaluation.lengths=[32,64]", "evaluation.documents=2"]
        at = few_tokens[1:]
        longer, trained = ["train_length=32"], ["train_length=64", "steps=2"]
    common = [
        *place.text, "dataset.train_tokens=3000000", "evaluation.protocols=[matched]",
        "evaluation.blocks=1", "evaluation.tokens_per_batch=32768", "tracking=none",
    ]  # fmt: skip

    def evaluate(retrofits: str, results: str, *words: str) -> list[str]:
        return _lengthgen(
            "evaluate", "-m", "model=hf:smollm2", f"+retrofit={retrofits}", *common, *words,
            f"results={results}",
        )  # fmt: skip

    both = [
        evaluate("none,yarn,hard_window,rerope", f"D/{folder}", *few_tokens, f"device={device}")
        for folder, device in (("device", place.device), ("cpu", "cpu"))
    ]
    size = [*at, f"device={place.device}"]
    # A process for each dtype, which is a run of its own: two cannot work on the same.
    table = [
        evaluate(RETROFITS, "pretrained", *size, *longer, "dtype=bfloat16"),
        evaluate("none", "pretrained", *size, *longer, "dtype=float32"),
    ]
    extended = _lengthgen(
        "train", "from=hf:smollm2", "+retrofit=yarn", "+adapter=lora", *trained, "batch_size=1",
        "optim.lr=2e-4", "validate_every=0", "log_every=5", *common, *size, *place.changed,
        "results=pretrained",
    )  # fmt: skip
    compared = _own("compare_evaluations.py", "D/device", "D/cpu", "D/cuda_and_cpu.json")
    return [
        Step("pretrained_table", 600, table, together=True, resumes=True),
        Step("pretrained_extended", 600, [extended], resumes=True, beside=True),
        Step("pretrained_cuda_and_cpu", 200, [*both, compared], beside=True),
    ]


def _lengthgen(*words: str) -> list[str]:
    return [sys.executable, "-m", "lengthgen", *words]


def _own(script: str, *words: str) -> list[str]:
    return [sys.executable, str(HERE / script), *words]


def _tests(place: Place) -> list[str]:
    """Without a GPU they are all skipped, which tries the command."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu"]
    if not place.tiny and importlib.util.find_spec("xdist"):
        command += ["-n", "10"]
    return [*command, "--rootdir", str(ROOT), str(ROOT / "tests" / "test_gpu_attention.py")]
