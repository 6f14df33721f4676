"""Walk: relevance carried back over the notes of a tape, from where it starts to the images.

Every number on the tape collects the relevance that its users hand to it; a note then hands its output's relevance to
its inputs by its own rule. Batch norm is folded here, on the notes: it leaves its relevance to the map that made its
input and tells that map its scale and shift.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor

from holdfast.explanations.relevance.affine import Affine
from holdfast.explanations.relevance.composites import Composite, Layer
from holdfast.explanations.relevance.tape import Note, Tape


class Walk:
    """One way back over a tape.

    Args:
        tape: the notes of a forward pass.
        composite: which rule each map takes.
        again: keep the notes for another walk; otherwise they are dropped as they are used, and memory with them.

    Attributes:
        stabiliser: for divisions outside the rules: residual sums, averages, products.
    """

    def __init__(self, tape: Tape, composite: Composite, again: bool = False) -> None:
        self.tape, self.composite, self.stabiliser = tape, composite, composite.sums
        self._notes = list(tape.notes) if again else tape.notes
        self._rectified = dict(tape.rectified) if again else tape.rectified
        self._relu: tuple[bool, Tensor | None] = (False, None)  # of the note at hand, see `_followed_by_relu`
        self._folds: dict[int, Affine] = {}
        self._arrived: dict[int, tuple[Tensor, bool]] = {}

    def __call__(self, starts: Mapping[int, tuple[Tensor, bool]], wanted: Iterable[int]) -> dict[int, Tensor | None]:
        """Carry relevance from `starts` back to the numbers `wanted`.

        Args:
            starts: number -> (relevance that starts there, whether it vanishes wherever the value does).
            wanted: the numbers whose relevance is asked for.

        Returns:
            number -> relevance; None where none arrives.
        """
        arrived, notes = self._arrived, self._notes
        for number, (relevance, vanishes) in starts.items():
            self._rectified.pop(number, None)  # what starts here does not care for a ReLU that also looks at it
            self._arrive(number, relevance, vanishes)
        wanted, found = set(wanted), {}
        nearest = min(wanted)
        while notes and notes[-1].output > nearest:
            note = notes.pop()
            relevance, vanishes = arrived.pop(note.output, (None, True))
            if note.output in wanted:
                found[note.output] = relevance
            if relevance is not None:
                self._hand_back(note, relevance, vanishes)
        return found | {number: arrived.get(number, (None,))[0] for number in wanted - found.keys()}

    def divide(self, relevance: Tensor, z: Tensor) -> Tensor:
        """Relevance over stabilised z, the output of the function at hand."""
        relu, cut = self._relu
        return self.stabiliser.divide(relevance, z, sign=int(relu), cut=cut)

    def _arrive(self, number: int, relevance: Tensor | None, vanishes: bool) -> None:
        """Add relevance to what a number has collected."""
        if relevance is None:
            return
        if number in self._arrived:
            there, before = self._arrived[number]
            relevance, vanishes = there + relevance, before and vanishes
        self._arrived[number] = relevance, vanishes

    def _hand_back(self, note: Note, relevance: Tensor, vanishes: bool) -> None:
        step, self._relu = note.step, self._followed_by_relu(note, vanishes)
        if step.affine is not None:
            part, vanishes = self._through_map(note, relevance, vanishes)
            return self._arrive(note.inputs[0], part, vanishes)
        if step.vanishes is not None:
            vanishes = step.vanishes
        for number, part in zip(note.inputs, step.back(relevance, self), strict=True):
            self._arrive(number, part, vanishes)

    def _through_map(self, note: Note, relevance: Tensor, vanishes: bool) -> tuple[Tensor, bool]:
        tape, m, kind = self.tape, note.step.affine, note.step.kind
        m.relu, m.cut = self._relu
        if kind == "norm":
            source = note.inputs[0]
            if m.geometry.constant and tape.folds.get(source) and tape.users[source] == 1:
                self._folds[source] = m
                return relevance, vanishes
            rank = None
        else:
            rank = tape.ranks[note.output]
            fold = self._folds.pop(note.output, None)
            m = m if fold is None else m.folded(fold)
        rule = self.composite.rule(Layer(note.module, kind, rank, len(tape.ranks)))
        return rule(m, relevance), rule.keeps_zeros

    def _followed_by_relu(self, note: Note, vanishes: bool) -> tuple[bool, Tensor | None]:
        """Whether a ReLU follows at once and no relevance arrives where it is off; and the ReLU's output."""
        relu = vanishes and note.output in self._rectified and self.tape.users[note.output] == 1
        cut = self._rectified.pop(note.output, None)
        return relu, cut if relu else None
