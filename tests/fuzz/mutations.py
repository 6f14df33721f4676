"""Hostile inputs for hypothesis to choose: intact files with bytes, or parts of their structure, changed.

A `Source` says what intact inputs look like. `mutants` makes bytes of one with up to six changes: bits flipped, runs
cut out, doubled, swapped for those of another file, sizes replaced by extreme ones, the end cut off. With `json` the
tree of an intact JSON text is changed instead: values by others of every type, keys lost, renamed, nested deeply.
"""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from hypothesis import strategies as st

EXTREME = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)
TOKENS = (b"\0", b"\xff", b"..", b"/", b"\\", b"<", b">", b"&a;", b"<!DOCTYPE a>", b"\n", b"\t", b'"', b"{", b"]",
          b"-1", b"1e999", b"NaN", b"\xed\xa0\x80", b"\xef\xbb\xbf", "é".encode(), b"%n", b"A" * 300)  # fmt: skip
VALUES = (None, True, -1, 0, 1, 2**63, -(2**70), 1.5, 1e308, float("nan"), float("inf"), "", "..", "../../x", "\0",
          "/etc/x", "a" * 5000, "\ud800", [], {}, [[]], [0], {"": 0}, [None] * 50)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where hostile inputs come from.

    Attributes:
        intact: whole, sound inputs (or hostile ones worth a start).
        pack: turns a mutant into what the parser is given, such as `gzip.compress`.
        json: the intact inputs are JSON; their trees are changed.
    """

    intact: Sequence[bytes]
    pack: Callable[[bytes], bytes] = bytes
    json: bool = False


def mutants(sources: Sequence[Source]) -> st.SearchStrategy[bytes]:
    """Bytes to hand to a parser, chosen and shrunk by hypothesis."""
    number = st.integers(0, 2**32 - 1)
    change = st.tuples(st.integers(0, 8), number, number, st.binary(max_size=6))
    changes = st.lists(change, min_size=1, max_size=6)
    return st.builds(functools.partial(_mutant, sources), number, number, changes)


def many_mutants(sources: Sequence[Source], seed: int) -> Iterator[bytes]:
    """The same without end, a hundred times as fast and not shrunk."""
    random = Random(seed)
    number = functools.partial(random.getrandbits, 32)
    while True:
        changes = [
            (random.randrange(9), number(), number(), random.randbytes(random.randrange(7)))
            for _ in range(random.randint(1, 6))
        ]
        yield _mutant(sources, number(), number(), changes)


def _mutant(sources: Sequence[Source], which: int, start: int, changes: list) -> bytes:
    source = sources[which % len(sources)]
    content = source.intact[start % len(source.intact)]
    return source.pack((_change_tree if source.json else _change_bytes)(content, changes, source.intact))


def _change_bytes(content: bytes, changes: list, others: Sequence[bytes]) -> bytes:
    for kind, place, size, noise in changes:
        at, run = place % (len(content) + 1), 1 + size % 40
        before, after, other = content[:at], content[at:], others[size % len(others)]
        size_field = EXTREME[size % len(EXTREME)].to_bytes(4, "big" if place % 2 else "little")
        content = (
            before + bytes([(after or b"\0")[0] ^ 1 << size % 8]) + after[1:],
            before + noise + after[len(noise) :],
            before + after[run:],
            before + after[:run] + after,
            before + size_field + after[4:],
            before + other[at : at + run] + after[run:],
            before + TOKENS[size % len(TOKENS)] + after,
            before + noise + after[run:],
            before if place % 3 == 0 else content,
        )[kind]
    return content


def _change_tree(content: bytes, changes: list, others: Sequence[bytes]) -> bytes:
    tree = json.loads(content)
    for kind, place, size, noise in changes:
        parents = [node for node in _nodes(tree) if isinstance(node, dict | list) and node]
        if not parents:
            break
        parent = parents[place % len(parents)]
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = keys[size % len(keys)]
        if kind <= 3:
            parent[key] = json.loads(json.dumps(VALUES[(place + size) % len(VALUES)]))
        elif kind == 4:
            del parent[key]
        elif kind == 5 and isinstance(parent, dict):
            parent[noise.decode("latin-1")] = parent.pop(key)
        elif kind == 6:
            other = parents[(place + size) % len(parents)]
            parent[key] = json.loads(json.dumps(other))
        elif kind == 7 and isinstance(parent, list):
            parent.extend(parent[:3])
        elif kind == 8:
            parent[key] = {"a": [parent[key]]}
            if size % 50 == 0:
                deep = json.dumps(tree).encode()
                return deep.replace(b"null", b"[" * 5000 + b"]" * 5000) if b"null" in deep else b"[" * 100_000
    return json.dumps(tree).encode()


def _nodes(tree: object) -> list:
    found, waiting = [], [tree]
    while waiting and len(found) < 1000:
        node = waiting.pop()
        found.append(node)
        waiting += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return found
