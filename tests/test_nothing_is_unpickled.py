"""No line of the package runs code out of a file: weights come from safetensors or `torch.load(weights_only=True)`."""

import ast
from pathlib import Path

import pytest

import holdfast

FILES = sorted(Path(holdfast.__file__).parent.rglob("*.py"))
FORBIDDEN = {
    "pickle": {"load", "loads", "Unpickler"},
    "cPickle": {"load", "loads"},
    "marshal": {"load", "loads"},
    "shelve": {"open"},
    "dill": {"load", "loads"},
    "cloudpickle": {"load", "loads"},
    "joblib": {"load"},
    "pandas": {"read_pickle"},
    "yaml": {"load", "unsafe_load", "full_load"},
    "torch.hub": {"load"},
    "torch.jit": {"load"},
    "torch.package": {"PackageImporter"},
}
OWN = {  # what a process hands to its own children, in a folder that only this user can open
    "inference/hmc/processes.py": 1,
}
BUILT_IN = {"eval", "exec", "compile", "__import__"}


def faults(source: str) -> list[str]:
    """Calls that could run code out of a file, as `line: call`."""
    tree, modules, found = ast.parse(source), {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {(a.asname or a.name.split(".")[0]): (a.name if a.asname else a.name.split(".")[0])
                        for a in node.names}  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {(a.asname or a.name): f"{node.module}.{a.name}" for a in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            written = ast.unparse(node.func)
            head, _, rest = written.partition(".")
            name = ".".join(filter(None, (modules.get(head, head), rest)))
            given = {k.arg: k.value for k in node.keywords}
            if _runs_code(name, given):
                found.append(f"{node.lineno}: {written}")
    return found


def _runs_code(name, given):
    module, _, function = name.rpartition(".")
    true = lambda key: isinstance(given.get(key), ast.Constant) and given[key].value is True
    if name in BUILT_IN or function in FORBIDDEN.get(module, ()):
        return True
    if name == "torch.load":
        return not true("weights_only")
    return name in ("numpy.load", "np.load") and "allow_pickle" in given


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(FILES[0].parent).as_posix())
def test_no_line_runs_code_out_of_a_file(file):
    allowed = OWN.get(file.relative_to(FILES[0].parent).as_posix(), 0)
    assert len(found := faults(file.read_text(encoding="utf-8"))) == allowed, found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import torch\ntorch.load(f)", 1),
        ("import torch as t\nt.load(f, weights_only=False)", 1),
        ("from torch import load\nload(f)", 1),
        ("import torch\ntorch.load(f, weights_only=True)", 0),
        ("import pickle\npickle.loads(b)", 1),
        ("from pickle import Unpickler as U\nU(f).load()", 1),
        ("import pickle\npickle.dumps(b)", 0),
        ("import pandas as pd\npd.read_pickle(f)", 1),
        ("import numpy as np\nnp.load(f, allow_pickle=True)", 1),
        ("eval('1')", 1),
        ("network.eval()", 0),
        ("import re\nre.compile('x')", 0),
    ],
)
def test_what_would_run_code_is_found(source, count):
    assert len(faults(source)) == count
