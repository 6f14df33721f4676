"""Banks: draws on disk, read one by one, and draws that other programs wrote.

`Bank.open` reads what `Ensemble.save` wrote; `from_state_dicts` and `from_pyro` make an ensemble of PyTorch checkpoints
and of a Pyro parameter store. Nothing that is read can run code.
"""

from holdfast.banks.bank import Bank
from holdfast.banks.pyro_store import from_pyro
from holdfast.banks.state_dicts import from_state_dicts

__all__ = ["Bank", "from_pyro", "from_state_dicts"]
