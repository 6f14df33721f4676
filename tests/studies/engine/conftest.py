"""What one undisturbed process finds, for the tests that disturb many."""

import pytest
from sixty_cells import study

from holdfast.studies.engine import Store, execute


def alone(folder, **more):
    store = Store(folder)
    execute(store, study(**more))
    return store


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The store of one process that nobody disturbed."""
    return alone(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="session")
def undisturbed_slow(tmp_path_factory):
    """The same, with networks that take a tenth of a second."""
    return alone(tmp_path_factory.mktemp("slow"), train=600, epochs=5)
