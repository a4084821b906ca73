"""Malformed configurations: one line each and its exit code, no traceback; and mutations of them.

Nothing is trained: what is accepted ends where a run would begin.
"""

import contextlib
import copy
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from lengthgen.cli import main
from lengthgen.config import messages
from lengthgen.errors import ConfigError, UserError
from lengthgen.runs import following, run, train_config

from .test_config import given

ROOT = Path(__file__).parent.parent
USUAL = (
    "scheme=none model=nano model.width=32 train_length=64 steps=4 batch_size=2 tracking=none "
    "evaluation=quick evaluation.documents=4 dataset=files dataset.path=text threads=1"
)
# Words of `lengthgen train`, one command a line. Most of the values make no sense for their keys.
MALFORMED = """
stesp=4
trian_length=64
model.widht=32
scheme.bukets=3
evaluation.lenghts=[64]
optim.learning_rate=0.1
dataset.pth=x
tokenizer.size=3
tracking.projct=x
+extra=1
+model.extra=1
+scheme.extra=1
++optim.extra=1
+seed=1
steps=null
seed=null
train_length=null
batch_size=null
precision=null
results=null
model.width=null
model.norm=null
optim.lr=null
optim.betas=null
evaluation.factors=null
evaluation.documents=null
evaluation.protocols=null
steps=many
steps=[4]
steps={a:4}
steps=''
steps=true
steps=no
steps=1.5
steps=1e2
steps=1_0
steps=1_000_000
steps=0x10
steps=12:30
steps=0
steps=-1
steps=99999999999999999999
steps=${nothing}
steps=${steps}
steps=${oc.env:LENGTHGEN_HAS_NO_SUCH_VARIABLE}
steps=${oc.decode:x}
steps=${unknown_resolver:1}
steps=${
seed=1,2
seed=range(0,3)
seed=range(0,0)
seed=interval(0,1)
seed=1.0
seed=true
seed=-1
seed=2147483648
seed=18446744073709551616
train_length=1
train_length=-64
train_length=1000000000
train_length=64.5
batch_size=0
batch_size=1000000000
batch_size=[2]
accumulate=3
accumulate=0
threads=0
threads=-1
threads=9999
threads=100000
threads=1.5
threads=[1]
log_every=0
validate_every=-1
checkpoint_every=0
checkpoint_seconds=-1
checkpoint_seconds=nan
checkpoint_seconds=inf
keep_checkpoints=0
keep_at_steps=3
keep_at_steps=[4]
keep_at_steps=[a]
keep_at_steps=[[1]]
keep_at_steps=[true]
evaluate_at_steps=[100]
evaluate_at_steps=[0]
settle=0.1
settle=nan
settle=inf
settle=-1
cross_documents=2
cross_documents=maybe
compile=maybe
compile=1
deterministic=0.5
precision=fp16
device=cuda
device=tpu
linear=x
kernel=flash
results=[a]
model=nothing
model=null
model.width=33
model.width=-32
model.width=1e3
model.n_heads=5
model.n_heads=0
model.n_heads=1000000
model.n_layers=0
model.n_layers=1000000000
model.dropout=1
model.dropout=-0.1
model.dropout=nan
model.mlp_ratio=0
model.mlp_ratio=inf
model.mlp_ratio=nan
model.mlp_ratio=1e-9
model.norm=batchnorm
model.norm=[layernorm]
model.activation=relu
model.tie_head=x
model.qk_norm=3
scheme=nothing
scheme=alibbi
scheme=null
scheme.name=nothing
~scheme
scheme=rope scheme=alibi
scheme=rope,alibi
scheme=[rope,alibi]
scheme=rope model.width=36 model.n_heads=12
scheme=rope scheme.base=0
scheme=rope scheme.base=nan
scheme=rope scheme.base=inf
scheme=t5_bias scheme.num_buckets=7
scheme=t5_bias scheme.num_buckets=nan
scheme=t5_bias scheme.num_buckets=-2
scheme=alibi scheme.max_bias=nan
modifier=nothing
modifier=null
modifier=window modifiers.window=3
modifier=window modifiers.window.window=-1
modifier=window modifiers.window.window=nan
modifiers=3
modifiers.window.window=4
retrofit=yarn
+retrofit=yarn
+diagnostics=all
+at_step=3
dataset=nothing
dataset=null
dataset.name=nothing
dataset.validation_fraction=2
dataset.validation_fraction=0
dataset.validation_fraction=nan
dataset.validation_fraction=x
dataset.train_tokens=-1
dataset.train_tokens=nan
tokenizer=nothing
tokenizer.name=nothing
tokenizer=bpe tokenizer.vocab_size=-1
tokenizer=bpe tokenizer.vocab_size=inf
tokenizer=bpe tokenizer.vocab_size=1000000000
tokenizer=bpe tokenizer.vocab_size=null
optim=sgd
optim.name=sgd
optim.lr=0
optim.lr=-1
optim.lr=nan
optim.lr=inf
optim.lr=1e400
optim.lr=true
optim.lr=fast
optim.clip=nan
optim.clip=inf
optim.clip=-1
optim.eps=nan
optim.eps=-1
optim.betas=[0.9]
optim.betas=0.9
optim.betas=[0.9,1]
optim.betas=[a,b]
optim.betas=[nan,0.9]
optim.warmup=1
optim.warmup=nan
optim.decay=-1
optim.final_lr=2
optim.schedule=linear
optim.positional_lr=0
optim.weight_decay=-1
optim.weight_decay=inf
evaluation=nothing
evaluation.lengths=128
evaluation.lengths=[]
evaluation.lengths=[1]
evaluation.lengths=[128.5]
evaluation.lengths=[1e9]
evaluation.lengths=[null]
evaluation.lengths=[[64]]
evaluation.lengths=[-64]
evaluation.factors=[]
evaluation.factors=[0]
evaluation.factors=[-1]
evaluation.factors=[nan]
evaluation.factors=[inf]
evaluation.factors=[0.51]
evaluation.factors=[a]
evaluation.protocols=[]
evaluation.protocols=matched
evaluation.protocols=[matchd]
evaluation.protocols=[matched,matched]
evaluation.documents=0
evaluation.documents=1.5
evaluation.blocks=0
evaluation.block=0
evaluation.block=1000
evaluation.stride=0
evaluation.last_k=-1
evaluation.tokens_per_batch=0
evaluation.tokens_per_batch=1000000000000
evaluation.resamples=0
evaluation.resamples=1000000000000
tracking=nothing
tracking.name=nothing
tracking=wandb tracking.mode=x
tracking=wandb tracking.project=a/b
tracking=wandb tracking.project=''
tracking=wandb tracking.tags=x
tracking=wandb tracking.init_timeout=nan
tracking=wandb tracking.init_timeout=0
experiment=nothing
hydra/launcher=nothing
alibi
steps
=3
[]
steps=[1,2
steps={a
--foo
--steps=3
--config-dir
--config-dir=/nothing/here
--cfg=nothing
--isolate
--multirun=3
-m seed=interval(0,1)
-m seed=range(0,0)
-m scheme=rope,nothing
-m scheme=rope,none scheme.base=3
""".strip().splitlines()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder, no training, and no W&B mode of the machine's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LENGTHGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(following, "prepared", lambda checked, ranks: checked)
    monkeypatch.setattr(run, "_complete", accepted)


def accepted(checked, figures):
    return run.Outcome("accepted", Path(), "trained", Path())


def outcome(argv):
    """(exit code, what stands on stderr)."""
    told = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
        code = main.main(argv)
    return code, told.getvalue()


def usual(words):
    """The usual command but for the keys that `words` give."""
    changed = {word.lstrip("+~").partition("=")[0] for word in words}
    return [word for word in USUAL.split() if word.partition("=")[0] not in changed]


def test_the_usual_command_is_accepted():
    assert outcome(["train", *USUAL.split()]) == (0, "")


@pytest.mark.parametrize("line", MALFORMED)
def test_one_line_and_exit_code_2(line, tmp_path):
    words = line.split(" ")
    # A given twice is the mistake there.
    before = usual(words) if line != "scheme=rope scheme=alibi" else []
    if line == "device=cuda":
        # Whether there is a GPU is found where the run is prepared.
        pytest.importorskip("torch")
        import torch

        from lengthgen.runs import prepare

        if torch.cuda.is_available():
            pytest.skip("this machine has one")
        with pytest.raises(UserError, match="no usable NVIDIA GPU"):
            prepare.placed("cuda", "auto", "device=")
        return
    code, told = outcome(["train", *before, *words])
    assert code == 2, told
    assert told.startswith("lengthgen: ") and told.count("\n") == 1, told
    assert "Traceback" not in told and len(told) < 1500
    # It names the key, or the words themselves.
    last = words[-1].lstrip("+~").partition("=")[0].lstrip("-").removesuffix(".name")
    assert last.rpartition(".")[2].partition("[")[0].partition("{")[0] in told
    assert os.listdir(tmp_path) == []


def test_there_are_150_of_them():
    assert len(set(MALFORMED)) == len(MALFORMED) >= 150


# Options of schemes, modifiers and retrofits stand in code that imports torch; device=cuda asks it.
NEEDS_TORCH = (
    "scheme.bukets=", "+scheme.extra=", "scheme=[rope", "scheme=rope", "scheme=t5_bias",
    "scheme=alibi", "modifier=window", "modifiers.window", "device=cuda",
)  # fmt: skip
WITHOUT_TORCH = """
import contextlib, io, json, sys
sys.modules["torch"] = None  # an import of it fails
from lengthgen.cli import main
codes = []
for argv in json.load(sys.stdin):
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        try:
            codes.append(main.main(argv))
        except BaseException as error:
            codes.append(repr(error))
print(json.dumps(codes))
"""


def codes_without_torch(commands):
    """Command -> its exit code, or the exception, where there is no torch to import."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        input=json.dumps(commands),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {" ".join(c[-2:]): n for c, n in zip(commands, json.loads(done.stdout), strict=True)}


def test_typed_values_are_refused_without_torch():
    table = """
    optim.lr=nan, optim.lr=inf, model.width=1e9, steps=-1, seed=x, threads=9999, kernel=flash,
    evaluation.block=1000, tokenizer.name=nothing, scheme.name=nothing,
    dataset.validation_fraction=2
    """
    lines = [[line.strip()] for line in table.split(",")]
    lines += [["tracking=wandb", "tracking.mode=x"]]
    given = {"train": [["train", *usual(line), *line] for line in lines]}
    given["evaluate"] = [["evaluate", "run=nothing", "evaluation=quick"]]
    of_a_model = ("dtype=int8", "positions=near", "train_length=-3", "threads=9999", "bos=maybe")
    given["evaluate"] += [["evaluate", "model=hf:smollm2", each] for each in of_a_model]
    both = ["evaluate", "model=hf:smollm2", "positions=as_released", "+retrofit=yarn"]
    given["evaluate"].append(both)
    codes = codes_without_torch([*given["train"], *given["evaluate"]])
    assert {line: code for line, code in codes.items() if code != 2} == {}


@pytest.mark.slow
def test_whatever_needs_no_torch_is_refused_without_it():
    lines = [line for line in MALFORMED if not line.startswith(NEEDS_TORCH)]
    assert len(lines) > 0.9 * len(MALFORMED)
    given = [["train", *usual(line.split(" ")), *line.split(" ")] for line in lines]
    assert {line: code for line, code in codes_without_torch(given).items() if code != 2} == {}


@pytest.mark.parametrize(
    "line",
    ["model.width=1000000000", "model.mlp_ratio=1e12", "model.n_layers=900 model.width=100000"],
)
def test_a_model_larger_than_the_machine_is_refused_before_it_is_made(line):
    code, told = outcome(["train", *usual(line.split()), *line.split()])
    assert code == 8 and told.count("\n") == 1 and "do not fit in this machine's" in told


@pytest.mark.parametrize("mode", ["", "x", "Online"])
def test_a_wandb_mode_that_is_none_is_found_before_any_work(monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    code, told = outcome(["train", *usual(["tracking"]), "tracking=wandb"])
    assert (code, told.count("\n")) == (2, 1) and f"tracking.mode={mode}: expected one of" in told


# Files of a user's

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES = {
    "an alias bomb": BOMB,
    "a bomb of twos": "a: &a [x, x]\n"
    + "".join(f"k{n}: &k{n} [*{'a' if n == 0 else f'k{n - 1}'}, *a]\n" for n in range(3))
    + "z0: &z0 [*k2, *k2]\n"
    + "".join(f"z{n}: &z{n} [*z{n - 1}, *z{n - 1}]\n" for n in range(1, 30)),
    "2 MB": "x: " + "y" * 2_000_000,
    "many values": "x: [" + "1, " * 20_000 + "1]",
    "depth 1,000": "x: " + "[" * 1000 + "]" * 1000,
    "NUL": "x: a\0b",
    "tabs": "x:\n\ty: 1",
    "a python tag": "x: !!python/object/apply:os.system [exit]",
    "a key twice": "steps: 3\nsteps: 4",
    "octal": "steps: 012",
    "sexagesimal": "steps: 12:30",
    "underscores": "steps: 1_000",
    "a float with underscores": "optim: {lr: 1_0.5}",
    "a list": "- a\n- b",
    "an unclosed bracket": "x: [1, 2",
    "an unknown anchor": "x: *nothing",
    "no as a number": "steps: no",
    "a merge key of itself": "x: &x\n  <<: *x",
}


@pytest.mark.parametrize("name", FILES)
def test_a_users_yaml_that_is_no_configuration_is_one_line(tmp_path, name):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    content = "# @package _global_\n" + FILES[name]
    (tmp_path / "mine" / "experiment" / "e.yaml").write_text(content, encoding="utf-8")
    code, told = outcome(["train", *usual(["steps"]), "--config-dir=mine", "experiment=e"])
    assert code == 2 and told.count("\n") == 1 and "Traceback" not in told, told


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"# caf\xe9\nsteps: 3\n"])
def test_a_yaml_in_another_encoding_is_one_line(tmp_path, content):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "e.yaml").write_bytes(content)
    code, told = outcome(["train", *USUAL.split(), "--config-dir=mine", "experiment=e"])
    assert code == 2 and told.count("\n") == 1 and "e.yaml" in told


@pytest.mark.parametrize(
    "content", ["# @package _global_\r\nsteps: 3\r\n", '# @package _global_\nlabel: "1_0"\n']
)
def test_a_yaml_that_is_well_is_taken(tmp_path, content):
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "e.yaml").write_bytes(content.encode())
    code, told = outcome(["train", *usual(["steps"]), "--config-dir=mine", "experiment=e"])
    assert code == 0 or "no key 'label'" in told


OWN = """
from lengthgen.schemes.none import {base}

{above}

class Mine({base}):
    def __init__(self, *given):
        super().__init__(*given)
        {inside}
"""


@pytest.mark.parametrize(
    ("above", "inside", "line", "words"),
    [
        ("def (:", "pass", 4, "SyntaxError: "),
        ("import no_such_module", "pass", 4, "ModuleNotFoundError: "),
        ("from lengthgen import nothing_of_the_kind", "pass", 4, "AttributeError|ImportError"),
        ("1 / 0", "pass", 4, "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(0)", "pass", 4, "SystemExit: "),
        ("raise SystemExit('bye')", "pass", 4, "SystemExit: bye"),
        ("", "raise ValueError('two\\nlines')", 9, "ValueError: two"),
        ("", "raise SystemExit(0)", 9, "SystemExit: "),
        ("", "import torch; torch.zeros(2) @ torch.zeros(3)", 9, "RuntimeError: "),
    ],
)
def test_own_code_that_fails_is_one_line_with_its_place(
    tmp_path, monkeypatch, above, inside, line, words
):
    from lengthgen import model as models
    from lengthgen import schemes

    folder = tmp_path / "mine" / "scheme"
    folder.mkdir(parents=True)
    base = schemes.load("none").__name__
    (folder / "mine.py").write_text(OWN.format(base=base, above=above, inside=inside))
    (folder / "mine.yaml").write_text("name: mine\n")

    def made(checked, figures):
        options = {"train_length": 64, "vocab_size": 8, "seed": 0}
        models.build(checked.model, checked.make_scheme, checked.scheme.options, **options)
        pytest.fail("made")

    monkeypatch.setattr(run, "_complete", made)
    code, told = outcome(["train", *usual(["scheme"]), "--config-dir=mine", "scheme=mine"])
    assert code == 2 and told.count("\n") == 1 and "Traceback" not in told, told
    assert "mine.py" in told and any(one in told for one in words.split("|")), told
    assert f":{line}" in told or f"line {line}" in told


# Mutations

POOL = [
    None, True, False, 0, 1, -1, 2, 3, 7, 64, 1e9, 10**9, 2**31, 2**63, -(2**63), 10**30, 0.5, 1.5,
    -0.1, 1e-300, 1e300, float("nan"), float("inf"), -float("inf"), "", " ", "x", "nan", "none",
    "null", "1_0", "../x", "a" * 300, "\n", "\0", "é", "💥", "${x}", "???", [], [1], [0.5, 1.0],
    ["matched"], [None], [[1]], {}, {"name": "none"}, {"a": 1}, {1: 2},
]  # fmt: skip


def mutated(config, chance):
    """A copy of a configuration with one to three values or keys changed."""
    config = copy.deepcopy(config)
    for _ in range(chance.randint(1, 3)):
        place, key = config, chance.choice(sorted(config))
        while isinstance(place[key], dict) and place[key] and chance.random() < 0.85:
            place, key = place[key], chance.choice(sorted(place[key], key=str))
        kind = chance.random()
        if kind < 0.75:
            place[key] = copy.deepcopy(chance.choice(POOL))
        elif kind < 0.85:
            del place[key]
        elif kind < 0.95:
            place[str(key) + chance.choice("xyz_")] = chance.choice(POOL)
        else:
            place[key] = given()[chance.choice(["model", "scheme", "steps"])]
        if not config:
            return config
    return config


def fuzz_configurations(seed, count):
    chance, refused = random.Random(seed), 0
    configs = [given(scheme=name) for name in ("t5_bias", "rope", "learned", "fire", "bipe")]
    for _ in range(count):
        config = mutated(chance.choice(configs), chance)
        try:
            checked = train_config.check(config, [])
        except UserError as error:
            refused += 1
            assert error.exit_code in (2, 3, 8) and str(error)
        else:
            assert isinstance(checked, train_config.TrainConfig)
    return refused


def fuzz_commands(seed, count):
    chance, refused = random.Random(seed), 0
    letters = "=,+~[]{}()${}.'\"\\:_-%@ 019aé\t"
    lines = [line for line in MALFORMED if not line.startswith("-m")]
    for _ in range(count):
        words = [*USUAL.split(), *chance.choice(lines).split(" ")]
        for _ in range(chance.randint(1, 3)):
            index = chance.randrange(len(words))
            word = words[index]
            at = chance.randrange(len(word) + 1)
            cut = chance.choice([0, 0, 1, 2])
            words[index] = word[:at] + chance.choice(letters) + word[at + cut :]
        if any(word.startswith("-") or "hydra" in word for word in words):
            continue  # help, sweeps and what Hydra prints
        code, told = outcome(["train", *words])
        assert code in (0, 2, 3, 8), (words, told)
        assert "Traceback" not in told, (words, told)
        refused += code != 0
    return refused


@pytest.mark.parametrize("seed", range(6))
def test_no_mutation_of_a_configuration_is_uncaught(seed):
    assert fuzz_configurations(seed, 80) > 20


@pytest.mark.parametrize("seed", range(4))
def test_no_mutation_of_a_command_is_uncaught(seed):
    assert fuzz_commands(seed, 15) > 5


@pytest.mark.slow
def test_no_mutation_of_ten_thousand_is_uncaught():
    assert fuzz_configurations(1000, 10_000) > 5000
    assert fuzz_commands(1000, 1000) > 500


@pytest.mark.parametrize(
    "line",
    ["stesp=4", "steps=1_0", "scheme=nothing", "seed=1,2", "--foo", "scheme=rope scheme=alibi"],
)
def test_what_the_words_show_is_refused_without_torch(line, tmp_path):
    code = (
        "import sys\nfrom lengthgen.cli.main import main\n"
        "code = main(sys.argv[1:])\nsys.exit(9 if 'torch' in sys.modules else code)"
    )
    argv = [sys.executable, "-c", code, "train", *line.split(" ")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr


def test_an_error_that_is_its_own_cause_is_one_line():
    error = ConfigError("a=1: expected 2")
    error.__cause__ = error
    assert messages.in_one_line(error) == "a=1: expected 2"
