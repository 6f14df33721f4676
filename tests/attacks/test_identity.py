"""Identity: whatever a network, function or setting computes with tells it from others, alike in every process."""

import os
import subprocess
import sys

import pytest
import torch

from holdfast import attacks
from holdfast.attacks.identity import architecture_of, text_of
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble


def of_source(source, **names):
    """What a cell of a notebook that holds `source` leaves behind: names of the module `__main__`."""
    names |= {"__name__": "__main__", "torch": torch, "attacks": attacks}
    exec(source, names)
    return names


LAYER = """
class Layer(torch.nn.Linear):
    def __init__(self, held):
        super().__init__(6, 4)
        self.held = held
    def forward(self, x):
        return 2 * super().forward(x)
"""


def test_a_layer_counts_with_its_code_and_all_that_it_holds():
    layer = of_source(LAYER)["Layer"]
    held = [1.0, torch.ones(2000), torch.ones(2000).index_fill(0, torch.tensor(1000), 0.0), [1, 2], {"a": 3}, len]
    held += of_source("f = lambda x: x + 1\ng = lambda x: x + 2").values()
    known = [architecture_of(layer(h)) for h in held if not isinstance(h, torch.nn.Module)]
    known.append(architecture_of(of_source(LAYER.replace("2 * super", "3 * super"))["Layer"](1.0)))
    assert len(set(known)) == len(known)
    assert known[0] == architecture_of(of_source(LAYER)["Layer"](1.0))
    assert known[0] == architecture_of(Ensemble.from_networks(layer(1.0)).network.train())


CLASS = """
import functools
def decorated(f):
    @functools.wraps(f)
    def g(*given): return f(*given)
    return g
class Layer(torch.nn.Linear):
    slope = 0.1
    @staticmethod
    def twice(x): return 2 * x
    @property
    def offset(self): return 4
    @decorated
    def forward(self, x): return 5 * self.slope * self.twice(super().forward(x)) + self.offset
"""


@pytest.mark.parametrize(
    "edit", [("0.1", "0.2"), ("2 * x", "3 * x"), ("return 4", "return 6"), ("5 * self", "7 * self")]
)
def test_a_layer_counts_with_all_that_its_class_says(edit):
    before, again, after = (of_source(source)["Layer"](2, 2) for source in (CLASS, CLASS, CLASS.replace(*edit)))
    assert architecture_of(before) == architecture_of(again)
    assert architecture_of(before) != architecture_of(after)


HELD = """
import dataclasses, functools
def power(x, k): return x ** k
class Scaled:
    def __init__(self, k): self.k = k
    def __call__(self, x): return self.k * x
    def shifted(self, x): return self.k + x
class Negated(Scaled):
    def __call__(self, x): return -self.k * x
@dataclasses.dataclass
class Setting:
    function: object
class Owner:
    def __init__(self, k): self.k, self.me = k, self
def of(function):
    def within(x): return function(x)
    return within
"""


def test_functions_and_objects_count_with_what_they_hold():
    names = of_source(HELD)
    made = [
        f"{start}{k}{end}"
        for start, end in (
            ("functools.partial(power, k=", ")"), ("Scaled(", ")"), ("Negated(", ")"), ("Scaled(", ").shifted"),
            ("Setting(lambda x: x + ", ")"), ("Owner(", ")"), ("of(lambda x: x + ", ")"),
            ("functools.lru_cache(lambda x: x + ", ")"),
        )
        for k in (3, 4)
    ]  # fmt: skip
    first, again = ([text_of(eval(source, names)) for source in made] for _ in range(2))
    assert first == again
    assert len(set(first)) == len(made)


def test_the_same_text_in_every_process():
    program = (
        "import torch; from holdfast import attacks; from holdfast.budget import Budget\n"
        "from holdfast.attacks.identity import architecture_of, text_of\n"
        "print(text_of([attacks.pgd, {'x', 'y', 'z'}, Budget('l2', [1, 2.5]), torch.arange(3)]))\n"
        "print(architecture_of(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())))"
    )
    run = lambda seed: subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONHASHSEED": seed},
    ).stdout  # fmt: skip
    here = text_of([attacks.pgd, {"x", "y", "z"}, Budget("l2", [1, 2.5]), torch.arange(3)])
    first = run("1")
    assert first == run("2")
    assert first.startswith(here)
