"""The commands of README.md and docs/pages/, each made small, and a folder to run them in.

What a command is there to show stays as documented: scheme, retrofit, protocol, launcher and so on.
Sizes change (SIZES, WORDS), and the words that stand for something of the reader's get a value.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from . import pretrained_models
from .study_cases import MINE

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "pages").glob("*.md"))]
PUBLISHED = ("length_512", "studies/learned_absolute_fails")  # of the checkout: named by commands


@dataclass(frozen=True)
class Case:
    page: str
    line: str  # as documented, without program and comment


def cases() -> Iterator[Case]:
    """Every line of a shell block that runs lengthgen, in the order of the pages."""
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.S):
            for line in block.splitlines():
                line = re.sub(r"^(torchrun .*)-m lengthgen ", r"lengthgen \1", line)
                if found := re.fullmatch(r"(?:scripts/)?lengthgen (.+?)(?:\s+#.*)?", line):
                    yield Case(page.name, found[1])


# Not run: the command -> why. Each pattern fits one command.
NOT_RUN = {
    r"model=hf:OWNER/NAME": "the Hugging Face hub",
    r"dataset=wikitext103": "the Hugging Face hub",
    r"launcher=submitit_slurm": "a cluster",
    r"torchrun --nproc-per-node 2": "two GPUs",
    r"torchrun --nproc-per-node 8": "eight GPUs",
    r"tracking.mode=online": "an account of W&B",
    r"dashboard (?!.*--to)": "an account of W&B",
}
# Run where the package is there.
NEEDS = {
    r"launcher=joblib": "hydra_plugins.hydra_joblib_launcher",
    r"launcher=submitit_local": "hydra_plugins.hydra_submitit_launcher",
    r"launcher=ray": "ray",
    r"sweeper=optuna": "optuna",
    r" dashboard ": "wandb_workspaces",
}

# Values of the reader's words, and sizes that are written out. Training lengths are an eighth of
# the documented ones; those of pretrained models, for which 64 stands for 8,192, a 128th.
OWN_STUDY = "study mine --config-dir mine"
WORDS = (
    (r"^study (learned_absolute_fails|all)$", OWN_STUDY),
    (r"^study t5_shares_buckets --seeds 10", f"{OWN_STUDY} --seeds 3"),
    (r"\bstudy NAME\b", "study mine"),
    (r"hf:FOLDER", "hf:model"),
    (r"dataset\.path=(TEXT|FOLDER)", "dataset.path=texts/novels"),
    (r"--publish NAME", "--publish chosen"),
    (r"--to FOLDER", "--to slides"),
    (r"--to hf (FOLDER|OUT)", r"--to hf PAGE-\1"),
    (r"--entity TEAM", "--entity team"),
    (r"run=(rope|alibi|t5_bias)(?= run=|$)", r"run=\1-python-nano-L64-s0"),
    (r"seed=0,1,2", "seed=0,1"),
    (r"n_trials=12", "n_trials=2"),
    (r"lengths=\[2048,8192,16384\]", "lengths=[16,64,128]"),
    (r"lengths=\[512,600,8192\]", "lengths=[64,75,1024]"),
    (r"lengths=\[512,4096\]", "lengths=[64,512]"),
    (r"--latex --lengths 1024,2048", "--latex --lengths 128,256"),
    (r"keep_at_steps=\[200,400\]", "keep_at_steps=[4,8]"),
    (r"train_length=(512|256)\b", "train_length=64"),
    (r"train_length=16384", "train_length=128"),
    (r"train_length=2048", "train_length=256"),
    (r"train_length=1024", "train_length=128"),
    (r"evaluate_every=500", "evaluate_every=5"),
)
MACHINE = "threads=1 device=cpu evaluation.documents=8 evaluation.resamples=50"
MODEL_OF_BENCH = "--layers=1 --width=32 --heads=2 --rounds=1 --threads=1 --device=cpu"
# Keys that a command is given: replaced where it has them. All that fit, in this order.
SIZES = (
    (r"^train (?!.*from=)", "model=nano"),
    (r"^train (?!.*train_length=)", "train_length=64"),
    (r"^train ", "steps=10 batch_size=4"),
    (r"^train .*settle=", "steps=64"),
    (r"^train .*keep_at_steps=", "steps=12"),  # another run than those before, so that it trains
    (r"^train .*from=", "steps=2 batch_size=1"),
    (r"^train ", MACHINE),
    (r"^train .*gpu/base_512", "dataset=files dataset.path=texts/novels"),  # not wikitext103
    (r"^train .*tokenizer=bpe", "tokenizer.vocab_size=300"),
    (r"^evaluate (?!.*--help)", MACHINE),
    (r"^decide ", "--rounds=1 --new=2 --threads=1"),
    (r"^study mine (?!.*--register)", "--workers=1"),
    (r"^bench train", f"{MODEL_OF_BENCH} --length=32 --batch=2 --seconds=0.01"),
    (r"^bench decode", f"{MODEL_OF_BENCH} --lengths=32,64 --batches=1 --new=4 --seconds=0.01"),
    (r"^list datasets --profile python", "dataset.train_tokens=200000"),
)
# Which run `run=<id>` is, by page and line: the newest whose id fits; without an entry, of all.
MEANT = {
    r"README.md evaluate .*lengths=\[512,600": "t5_bias-python-*-L64-*",
    r"README.md export .* FOLDER": "rope-python-*",
    r"README.md decide ": "rope-python-*",
    r"export .* OUT": "*-model+lora-*",
    r"(pretrained|tutorial).md decide ": "rope-novels-model-L64-*",
}
# What a reader has done before, where no command of the pages above does it.
ROPE = "evaluate run=rope-python +retrofit="
BEFORE = {
    r"README.md evaluate --where scheme=rope": ("train -m +scheme=rope seed=0,1",),
    r"README.md study learned_absolute_fails$": (f"{OWN_STUDY} --register",),
    r"README.md decide run=<id> --cause": (
        f"{ROPE}log_n",
        f"{ROPE}hard_window",
        f"{ROPE}rerope retrofit.log_n=false",
    ),
}

# What the comment of a command says to do then.
AFTER = {r"keep_at_steps=\[200": ("evaluate run=alibi at_step=4",)}


def first_fitting(table: dict[str, Any], case: Case) -> Any:
    """The value of the first pattern that page and line have, or None."""
    where = f"{case.page} {case.line}"
    return next((value for pattern, value in table.items() if re.search(pattern, where)), None)


def small(case: Case, results: Path) -> list[str]:
    """The words that are run for the documented ones."""
    fitting = case.line
    for pattern, value in WORDS:
        fitting = re.sub(pattern, value.replace("PAGE", Path(case.page).stem), fitting)
    words = [_existing(word, case, results) for word in shlex.split(fitting)]
    for pattern, settings in SIZES:
        if re.search(pattern, fitting):
            for setting in settings.split():
                words = _with(words, setting)
    return words


def _with(words: list[str], setting: str) -> list[str]:
    key = setting.partition("=")[0] + "="
    if any(word.startswith(key) for word in words):
        return [setting if word.startswith(key) else word for word in words]
    return [*words, setting]


def _existing(word: str, case: Case, results: Path) -> str:
    """`run=rope` and `from=rope` as the id of the newest run that this may be."""
    key, _, name = word.partition("=")
    if key not in ("run", "from") or name.startswith("hf:") or "*" in name:
        return word
    fitting = (first_fitting(MEANT, case) or "*") if name == "<id>" else f"{name}*"
    runs = [path.parent for path in (results / "runs").glob("*/config.yaml")]
    runs = [run for run in runs if fnmatch(run.name, fitting)]
    newest = max(runs, key=lambda run: (run / "config.yaml").stat().st_mtime_ns, default=None)
    return f"{key}={newest.name if newest else name}"


def changes(documented: list[str], given: list[str]) -> str:
    """`steps=3000 -> steps=10 threads=1`; empty where nothing was changed."""
    gone = [word for word in documented if word not in given]
    added = [word for word in given if word not in documented]
    return f"{' '.join(gone)} -> {' '.join(added)}".strip() if gone or added else ""


def user_folder(folder: Path) -> None:
    """Texts, a pretrained model, a scheme and a study of one's own, published results."""
    write_texts(folder / "texts" / "novels")
    pretrained_models.saved(folder / "model")
    for path, block in own_scheme().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(block)
    (folder / "mine" / "study").mkdir()
    (folder / "mine" / "study" / "mine.yaml").write_text(MINE)
    for name in PUBLISHED:
        shutil.copytree(ROOT / "results" / name, folder / "results" / name)


def own_scheme() -> dict[str, str]:
    """The files of the README's example, by the paths in their first lines."""
    blocks = re.findall(r"```(?:python|yaml)\n(.*?)```", PAGES[0].read_text(), flags=re.S)
    return {block.splitlines()[0][2:]: block for block in blocks if block.startswith("# mine/")}


def write_texts(folder: Path) -> None:
    """24 documents to train on and 12 to evaluate on, of 4,000 letters."""
    chance = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "(", ")", ".\n"]
    for split, number in (("train", 24), ("val", 12)):
        (folder / split).mkdir(parents=True)
        for i in range(number):
            text = " ".join(chance.choice(words, 900))[:4000]
            (folder / split / f"d{i:02d}.txt").write_text(text)
