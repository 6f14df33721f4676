"""Hostile bytes: every parser of `parsers.py` accepts an input or raises its documented error, and nothing else.

`HOLDFAST_FUZZ` says how many inputs each parser must have refused: `make fuzz` asks for 10,000. The first ones are
hypothesis's, which shrinks what fails.
"""

import itertools
import os
import warnings

import pytest
from hypothesis import HealthCheck, given, seed, settings
from mutations import many_mutants, mutants
from parsers import PARSERS, Parser

WANTED = int(os.environ.get("HOLDFAST_FUZZ", "300"))
SHRUNK = 60


class Feed:
    """Gives inputs to a parser and counts what becomes of them."""

    def __init__(self, parser: Parser) -> None:
        self.parser, self.refused, self.accepted = parser, 0, 0

    def __call__(self, content: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                found = self.parser.read(content)
            except self.parser.errors as error:
                self.refused += bool(str(error).strip())  # an error without a word is none
                return
        self.parser.holds(content, found)
        self.accepted += 1


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_raises_nothing_but_its_documented_error(name):
    feed, sources = Feed(PARSERS[name]), PARSERS[name].sources()
    shrinking = settings(
        max_examples=SHRUNK, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )  # fmt: skip
    seed(0)(shrinking(given(mutants(sources))(lambda content: feed(content))))()
    for content in itertools.islice(many_mutants(sources, 1), 50 * WANTED):
        if feed.refused >= WANTED:
            break
        try:
            feed(content)
        except BaseException as error:
            error.add_note(f"{name}: the input was {content[:4000]!r}")
            raise
    print(f"{name}: {feed.refused:,} malformed inputs refused, {feed.accepted:,} accepted; nothing else raised")
    assert feed.refused >= WANTED
