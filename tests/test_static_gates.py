"""No file of the package or of its scripts reads data in a way that runs it, or asks a shell."""

import re
from pathlib import Path

import pytest

from . import static_gates

ROOT = Path(__file__).parent.parent
# (file, what it calls) -> why it may.
ALLOWED = {
    ("lengthgen/config/plugins.py", "importlib.machinery.SourceFileLoader"): "a user's own code",
    ("lengthgen/config/plugins.py", "importlib.util.spec_from_file_location"): "the same",
    ("lengthgen/config/plugins.py", "loader.exec_module"): "the same",
    ("lengthgen/config/plugins.py", "self.source_to_code"): "the same",
    ("lengthgen/config/plugins.py", "importlib.import_module"): "of the package, by a listed name",
    ("lengthgen/cli/main.py", "importlib.import_module"): "of the package, by a constant table",
    (
        "lengthgen/cli/completion.py",
        "importlib.import_module",
    ): "of the package, by a constant table",
    ("lengthgen/__init__.py", "importlib.import_module"): "of the package, by a constant table",
    ("lengthgen/model/__init__.py", "importlib.import_module"): "the same",
    ("lengthgen/diagnostics/writing.py", "importlib.import_module"): "the same",
    ("scripts/gpu/facts.py", "__import__"): "of a library, by a constant list",
    ("lengthgen/evaluation/records.py", "yaml.load"): "CSafeLoader, or SafeLoader without libyaml",
}
PLANTS = [
    "import torch\ntorch.load('x')",
    "import torch\ntorch.load('x', weights_only=False)",
    "import torch\ntorch.load('x', weights_only=unsure)",
    "from torch import load as fetch\nfetch('x')",
    "import torch as t\nt.hub.load('x', 'y')",
    "import torch\ntorch.jit.load('x')",
    "import pickle",
    "from pickle import loads",
    "import dill as d",
    "import joblib",
    "import shelve",
    "import numpy as np\nnp.load('x', allow_pickle=True)",
    "from numpy import load\nload('x', allow_pickle=flag)",
    "import pandas as pd\npd.read_pickle('x')",
    "import yaml\nyaml.load(text)",
    "import yaml\nyaml.load(text, yaml.Loader)",
    "import yaml\nyaml.load(text, Loader=yaml.UnsafeLoader)",
    "import yaml\nyaml.unsafe_load(text)",
    "eval('1')",
    "exec('1')",
    "x = compile('1', '', 'eval')",
    "__import__('x')",
    "import os\nos.system('x')",
    "import os\nos.execvp('x', [])",
    "from os import popen\npopen('x')",
    "import subprocess\nsubprocess.run('x', shell=True)",
    "import subprocess as s\ns.Popen('x', shell=flag)",
    "import subprocess\nsubprocess.getoutput('x')",
    "import tarfile\ntarfile.open('x').extractall('y')",
    "import zipfile\nzipfile.ZipFile('x').extractall('y')",
    "import shutil\nshutil.unpack_archive('x')",
    "import importlib\nimportlib.import_module(name)",
    "import importlib.util as u\nu.spec_from_file_location('x', 'y')",
    "spec.loader.exec_module(module)",
    "from hydra.utils import instantiate\ninstantiate(config)",
    "import hydra\nhydra.utils.instantiate(config)",
    "load_dataset('x', trust_remote_code=True)",
    "get('https://x', verify=False)",
    "import tempfile\ntempfile.mktemp()",
    "import runpy",
]
SAFE = [
    "import torch\ntorch.load('x', weights_only=True)",
    "import numpy as np\nnp.load('x')\nnp.load('x', allow_pickle=False)",
    "import yaml\nyaml.safe_load(t)\nyaml.load(t, yaml.SafeLoader)",
    "import yaml\nyaml.load(t, Loader=CSafeLoader)",
    "import subprocess\nsubprocess.run(['x'], shell=False)",
    "import tarfile\ntarfile.open('x').extractall('y', filter='data')",
    "import re, torch\nre.compile('x')\ntorch.compile(model)\nmodel.eval()",
    "import importlib\nimportlib.import_module('torch')",
]


def sources() -> dict[str, str]:
    paths = [*ROOT.glob("lengthgen/**/*.py"), *ROOT.glob("scripts/**/*")]
    texts = {
        path: path.read_text() for path in paths if path.suffix in (".py", "") and path.is_file()
    }
    return {
        str(path.relative_to(ROOT)): text
        for path, text in texts.items()
        if path.suffix == ".py" or "python" in text.partition("\n")[0]
    }


def test_nothing_unsafe_is_called():
    found = {
        (name, called): line
        for name, text in sources().items()
        for line, called in static_gates.faults(text)
    }
    assert {place: line for place, line in found.items() if place not in ALLOWED} == {}
    assert set(ALLOWED) <= set(found), "an allowance that nothing needs"


def test_the_files_are_looked_at():
    names = set(sources())
    assert {"lengthgen/training/checkpoint.py", "scripts/gpu/archives.py"} <= names
    assert len(names) > 250 and any("." not in name for name in names)


def test_a_finding_of_bandits_that_is_accepted_says_why():
    """`# nosec B615 # why`: one finding, and words. A bare nosec hides whatever comes later."""
    accepted = {
        (name, line.strip())
        for name, text in sources().items()
        for line in text.splitlines()
        if "nosec" in line
    }
    wordless = [place for place in accepted if not re.search(r"# nosec B\d{3} # \w.*\w", place[1])]
    assert accepted and wordless == []


@pytest.mark.parametrize("plant", PLANTS)
def test_a_plant_is_found(plant):
    assert list(static_gates.faults(plant))


@pytest.mark.parametrize("text", SAFE)
def test_what_is_safe_passes(text):
    assert list(static_gates.faults(text)) == []
