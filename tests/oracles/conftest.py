"""The oracles are optional: `make oracles` installs them; without them the tests here skip and say so."""

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def zennit():
    """zennit 0.5.1: later releases alter the model."""
    if importlib.util.find_spec("zennit") is None:
        pytest.skip("zennit is not installed; `make oracles` does it")
    from torchvision_stand_in import stand_in

    with stand_in():
        import zennit.attribution
        import zennit.canonizers
        import zennit.composites
        import zennit.core
        import zennit.layer
        import zennit.rules
        import zennit.types

    return zennit


@pytest.fixture(scope="session")
def captum_attr():
    """captum.attr."""
    return pytest.importorskip("captum.attr", reason="captum is not installed; `make oracles` does it")
