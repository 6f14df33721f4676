"""Commands set limits for the process that they run in; here that is the one that tests all of them."""

import sys

import pytest

if sys.platform.startswith("linux"):
    import resource

    @pytest.fixture(autouse=True)
    def limits_as_they_were():
        """Put back what `--memory` has set."""
        before = resource.getrlimit(resource.RLIMIT_DATA)
        yield
        resource.setrlimit(resource.RLIMIT_DATA, before)
