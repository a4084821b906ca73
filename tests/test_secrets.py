"""Secrets that a user's configuration, environment or words hold stand in no file and no output."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lengthgen.cli import listing, main, sweep
from lengthgen.config import catalogue, output
from lengthgen.config.redaction import REDACTED, redact, redact_text

ROOT = Path(__file__).parent.parent
TINY = [
    *("scheme=none", "model=nano", "model.width=16", "model.n_layers=1", "train_length=16"),
    *("steps=2", "batch_size=2", "validate_every=0", "evaluation=quick", "threads=1"),
    *("evaluation.documents=4", "dataset=files", "dataset.path=text", "cache=cache"),
    *("tracking.finish_timeout=60", "tracking.init_timeout=60"),
]


def canary(number: int) -> str:
    return f"cAnary{number:02}Zq7x"


# In the environment: name -> value. Overrides and files name them by ${oc.env:...}.
VARIABLES = {
    "HF_TOKEN": canary(0),
    "WANDB_API_KEY": f"{canary(1)}{'0' * 27}",
    "AWS_SECRET_ACCESS_KEY": canary(2),
    "DB_PASSWORD": f"a b'{canary(3)}\"\\x",
    "GITHUB_TOKEN": f"ghp_{canary(4)}abcdefgh",
    "MY_CREDENTIALS": canary(5),
    "OPENAI_API_KEY": f"sk-{canary(6)}abcdefghij",
    "SMTP_PASS": canary(7),
}
TAGS = [  # of W&B, literal
    f"https://user:{canary(8)}@host.org/x",
    f"user:{canary(9)}@host.org",
    f"hf_{canary(10)}abcdefghijkl",
    f"sk-{canary(11)}abcdefghijkl",
    f"glpat-{canary(12)}abcdefghijkl",
    f"api_key={canary(13)}",
    f"Bearer {canary(14)}",
    f"https://host.org/?access_token={canary(15)}&x=1",
    f"{{password: {canary(16)}}}",
    f"AKIA{canary(17).upper()}ABCDEFGH",
]
PLANTS = [
    "tracking.group=${oc.env:HF_TOKEN}",
    "tracking.entity=${oc.env:AWS_SECRET_ACCESS_KEY}",
    "tracking.project=${oc.env:MY_CREDENTIALS}",
    "dataset.label=${oc.env:SMTP_PASS}",
    "model.name=${oc.env:GITHUB_TOKEN}",
    # all of them in a list, with those of the environment in the middle of words
    "tracking.tags=["
    + ", ".join(
        [*(f"'{tag}'" for tag in TAGS), *(f"'at ${{oc.env:{name}}}.'" for name in VARIABLES)]
    )
    + "]",
]
REFUSED = [  # said back in an error
    f"+tracking.api_key={canary(18)}",
    f"+api_key={canary(19)}",
    f"+dataset.password='{canary(20)} x'",
    f"+model.secret={{a: [{canary(21)}]}}",
    f"hf_token={canary(22)}",
    f"scheme=hf_{canary(23)}abcdefgh",
    f"dataset.path=https://user:{canary(24)}@host.org/text",
    f"seed=sk-{canary(25)}abcdefgh",
    "scheme.name=${oc.env:HF_TOKEN}",
    "optim.lr=${oc.env:WANDB_API_KEY}",
    "precision=${oc.env:OPENAI_API_KEY}",
    "+x=[1,2,${oc.env:DB_PASSWORD}]",
    f"password={canary(26)} [",
    f"tracking.mode='token={canary(27)}'",
    f"+wandb.key.secret=[{canary(28)}",
    f"hydra.launcher.auth_token={canary(29)}",
]
ALL = [canary(number) for number in range(30)] + [canary(17).upper()]


def hits(folder: Path, text: str = "") -> list[tuple[str, str]]:
    """(where, secret) of all that stand in a file, a file's name, or the text."""
    found = [("output", secret) for secret in ALL if secret in text]
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for secret in ALL:
            if secret in path.name or secret.encode() in content:
                found.append((str(path.relative_to(folder)), secret))
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "text").mkdir()
    for number in range(20):
        (tmp_path / "text" / f"{number}.txt").write_text(f"a quick brown fox, {number}. " * 30)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in {**VARIABLES, "WANDB_MODE": "offline"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lengthgen(*words: str) -> tuple[int, str]:
    """(exit code, all output) of a command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-m", "lengthgen", *words]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_a_sweep_evaluation_and_publication_hold_no_secret(here):
    """W&B's files, Hydra's, the status files, logs, tables, figures, configuration, provenance."""
    code, said = lengthgen("train", "-m", "seed=0,-1", *TINY, *PLANTS)
    assert code == 1 and "1/2" in said and "trained" in said, said
    assert hits(here, said) == []
    (run,) = (here / "results" / "runs").iterdir()
    for needed in ("config.yaml", "provenance.json", "log.txt", "figures"):
        assert (run / needed).exists()
    assert list(run.glob("wandb/offline-run-*/run-*.wandb")) and list(run.glob("wandb/*/logs/*"))
    assert list(here.glob("results/sweeps/*/multirun.yaml"))
    asked = ["evaluation.lengths=[16,24]", "evaluation.documents=4", "threads=1", *PLANTS[:3]]
    code, said = lengthgen("evaluate", f"run={run.name}", *asked)
    assert code == 0 and "24" in said, said
    note = f"by token=x{canary(13)}, api_key={canary(13)}"
    code, more = lengthgen("plot", "--publish", "main", "--note", note)
    assert code == 0, more
    assert hits(here, said + more) == []
    assert REDACTED in yaml.safe_load((run / "config.yaml").read_text())["tracking"]["group"]


@pytest.mark.parametrize("words", REFUSED)
def test_an_error_says_no_secret_back(words, here, capfd):
    for more in ([], ["-m", "batch_size=2,3"]):
        code = main.main(["train", *TINY, "tracking=none", words, *more])
        said = capfd.readouterr()
        assert code in (1, 2, 3), said
        assert hits(here, said.out + said.err) == []
        assert said.err and "Traceback" not in said.err


@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize("kind", [["job"], ["job", "--resolve"], ["all"]])
def test_a_printed_configuration_holds_no_secret(command, kind, here, capsys):
    run = ["run=x"] if command == "evaluate" else [*TINY, *PLANTS[3:]]
    assert main.main([command, *run, *PLANTS[:3], "--cfg", *kind]) == 0
    printed = capsys.readouterr().out
    assert "tracking:" in printed and "evaluation:" in printed
    assert hits(here, printed.replace("${oc.env:", "")) == []


def test_a_fault_of_lengthgen_shows_no_secret(here, monkeypatch, capfd):
    """Its traceback is printed where the process ends."""
    code = (
        "import sys\nfrom lengthgen.cli import main\n"
        "def fault(argv): raise ZeroDivisionError('at ' + argv[1])\n"
        "main._dispatch = fault\nsys.exit(main.main())\n"
    )
    argv = [sys.executable, "-c", code, "train", f"x.api_key={canary(13)}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
    assert hits(here, done.stdout + done.stderr) == []


def test_a_studys_command_is_refused_with_a_secret(here, capsys):
    """It is stored with the registration and published."""
    words = ["study", "learned_absolute_fails", "--register", f"tracking.group={TAGS[2]}"]
    assert main.main(words) == 2
    said = capsys.readouterr()
    assert "expected no secret in it" in said.err and hits(here, said.out + said.err) == []
    assert not Path("results").exists()


def test_status_files_hold_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", canary(0))
    status = sweep.Status(
        1, f"tracking.group={canary(0)}", "", "failed", f"api_key={canary(1)}: no"
    )
    sweep.write(tmp_path, status)
    assert hits(tmp_path) == []
    assert sweep.read(tmp_path)[0].message.startswith("api_key=***")


def test_a_logged_traceback_holds_no_secret(tmp_path):
    handler = logging.FileHandler(tmp_path / "log.txt")
    handler.setFormatter(output.Formatter("%(message)s"))
    try:
        raise ValueError(f"no access for https://me:{canary(0)}@host.org")
    except ValueError as error:
        facts = (logging.ERROR, __file__, 1, "failed with %s", (f"api_key={canary(1)}",))
        record = logging.LogRecord("x", *facts, (ValueError, error, error.__traceback__))
    handler.emit(record)
    handler.close()
    text = (tmp_path / "log.txt").read_text()
    assert "Traceback" in text and hits(tmp_path) == []


def test_output_goes_through_and_comes_back(capsys):
    before = sys.stdout, sys.stderr
    with output.without_secrets(), output.without_secrets():
        assert isinstance(sys.stdout, output.Redacted) and sys.stdout.isatty() is False
        assert not isinstance(sys.stdout._stream, output.Redacted)
        print("a b", end="")
        sys.stdout.writelines(["c", f"password={canary(0)}"])
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "a bcpassword=***"


SECRET_TEXTS = {
    "x=1,api_key=abc,def y=2": "x=1,api_key=*** y=2",
    "password='a b c' ok": "password=*** ok",
    '{"api_key": "x y", "n": 3}': '{"api_key": ***, "n": 3}',
    "{'db_password': 'a b'}": "{'db_password': ***}",
    "Authorization: Bearer abcdefgh": "Authorization: *** ***",
    "  wandb_token: abc\n  b: 1": "  wandb_token: ***\n  b: 1",
    "credentials:\n  user: x\n  list:\n  - q\nother: 1\n": "credentials: ***\nother: 1\n",
    "password:\n- a\n- b\nc: 1": "password: ***\nc: 1",
    "see me:hunter2@host.org now": "see ***@host.org now",
    "https://u:p@h.org/x?secret=1&b=2": "https://***@h.org/x?secret=***&b=2",
    "-----BEGIN RSA PRIVATE KEY-----\nabc\nd\n-----END RSA PRIVATE KEY----- ok": "*** ok",
    "at hf_abcdefghijklmnopqrst!": "at ***!",
    'echo "token=abc"': 'echo "token=***',
}


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_secrets_in_text(text):
    assert redact_text(text, {}) == SECRET_TEXTS[text]


@pytest.mark.parametrize(
    "written", [str, json.dumps, repr, lambda value: " ".join(value.split()), "{:.40}...".format]
)
def test_values_of_the_environment_in_every_spelling(written):
    value = "aB3-dE6_gH9.jK2~" * 4
    for secret in (value, "two  words \"quoted\" 'too' \\ and\nlines"):
        text = f"[{written(secret)}]"
        if written.__class__ is not str and text.endswith("...]") and secret != value:
            continue  # only what looks like a token is found by its beginning
        assert redact_text(text, {"MY_TOKEN": secret}).strip("['\"].") in (REDACTED, "")


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MYAPIKEY", "DB_PASSWORD", "TOKEN_2", "X_PWD"]
)
def test_variables_that_hold_secrets(name):
    assert redact_text("a hunter2x b", {name: "hunter2x"}) == "a *** b"


@pytest.mark.parametrize(
    "name",
    [
        *("TOKENIZERS_PARALLELISM", "KEYBOARD", "XDG_KEYRING", "PWD", "OLDPWD", "PATH", "EDITOR"),
        *("SSH_AUTH_SOCK", "KEY_FILE", "HF_TOKEN_PATH", "SECRETS_DIR", "LENGTHGEN_CACHE"),
    ],
)
def test_variables_that_hold_none(name):
    assert redact_text("a /home/me/x1 b", {name: "/home/me/x1"}) == "a /home/me/x1 b"


PROSE = [
    *("num_tokens=5", "pad_token: <pad>", "key_dim=64", "max_tokens: 100", "tokenizer: bytes"),
    *("tokenizer=bpe", "loss a token: 2.3 nats", "key: value", "text_key: text", "n_tokens=3"),
    *("nats/token: 0.5", "tokens_per_batch=null", "evaluation.key_tokens=true", "id_key=name"),
    *("dataset.text_key=data.text", "a 12:30@x", "git@github.com:me/x", "keys: [q, k]"),
    *("12.5k tokens/s", "eval/matched/loss@001024", "split_key: split", "secretary=x"),
    *("https://example.org/a@b", "monkey=1", "word: a, b", "eos_token='</s>'", "the key: press it"),
]


@pytest.mark.parametrize("text", PROSE)
def test_what_is_no_secret_stays(text):
    assert redact_text(text, {}) == text


def test_what_the_package_says_has_no_secret():
    """Every configuration, every document, every help text passes unchanged."""
    texts = [path.read_text() for path in catalogue.folder().rglob("*.yaml")]
    texts += [path.read_text() for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"]
    texts += [path.read_text() for path in (ROOT / "results").rglob("*.md")]
    texts += [main.help_text(), *map(listing.command_help, ("train", "evaluate"))]
    for text in texts:
        for line, kept in zip(text.splitlines(), redact_text(text, {}).splitlines(), strict=True):
            assert kept == line
    for path in catalogue.folder().rglob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        assert redact(content, {}) == content
