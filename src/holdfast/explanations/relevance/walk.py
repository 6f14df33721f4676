"""Walk: relevance carried back over the notes of a tape, from where it starts to the images.

Every number on the tape collects the relevance that its users hand to it; a note then hands its output's relevance to
its inputs by its own rule. Batch norm is folded here, on the notes: it leaves its relevance to the map that made its
input and tells that map its scale and shift.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.explanations.relevance.composites import Composite, Layer
from holdfast.explanations.relevance.tape import Note, Tape

RULED = ("linear", "convolution")
_RELUS = {F.relu, F.relu6, torch.relu, Tensor.relu}


class Walk:
    """One way back over a tape.

    Attributes:
        composite: which rule each map takes.
        stabiliser: for divisions outside the rules: residual sums, averages, products.
    """

    def __init__(self, tape: Tape, composite: Composite, again: bool = False) -> None:
        self.composite, self.stabiliser = composite, composite.sums
        self._notes = list(tape.notes) if again else tape.notes
        self._nonneg = tape.nonneg
        self._users = Counter(number for note in self._notes for number in note.inputs)
        self._relu = {n.inputs[0] for n in self._notes if n.function in _RELUS}
        self._makers = {n.output: n for n in self._notes if n.step.affine is not None and n.step.kind in RULED}
        self._rank = {n.output: i for i, n in enumerate(self._makers.values())}
        self._folds: dict[int, tuple[Tensor, Tensor, Tensor, bool]] = {}
        self._relevance: dict[int, Tensor] = {}
        self._keeps: dict[int, bool] = {}  # the relevance of this number vanishes wherever its value does

    def __call__(self, starts: Mapping[int, tuple[Tensor, bool]], wanted: Iterable[int]) -> dict[int, Tensor]:
        """Carry relevance from `starts` back to the numbers `wanted`; without `again` the notes are used up.

        Args:
            starts: number -> (relevance that starts there, whether it vanishes wherever the value does).
            wanted: the numbers whose relevance is asked for.

        Returns:
            number -> relevance; None where none arrives.
        """
        wanted, found = set(wanted), {}
        for number, (relevance, keeps) in starts.items():
            self._arrive(number, relevance, keeps)
        last = min(wanted)
        while self._notes and self._notes[-1].output > last:
            note = self._notes.pop()
            relevance, keeps = self._relevance.pop(note.output, None), self._keeps.pop(note.output, True)
            if note.output in wanted:
                found[note.output] = relevance
            if relevance is not None:
                self._step(note, relevance, keeps)
        for number in wanted - found.keys():
            found[number] = self._relevance.get(number)
        return found

    def _arrive(self, number: int, relevance: Tensor | None, keeps: bool) -> None:
        if relevance is None:
            return
        there = self._relevance.get(number)
        self._relevance[number] = relevance if there is None else there + relevance
        self._keeps[number] = self._keeps.get(number, True) and keeps

    def _step(self, note: Note, relevance: Tensor, keeps: bool) -> None:
        step = note.step
        if step.affine is not None:
            back, keeps = self._through_map(note, relevance, keeps)
        else:
            back = step.back(relevance, self)
            keeps = keeps if step.keeps_zeros is None else step.keeps_zeros
        for number, part in zip(note.inputs, back, strict=True):
            self._arrive(number, part, keeps)

    def _through_map(self, note: Note, relevance: Tensor, keeps: bool) -> tuple[tuple[Tensor], bool]:
        source = note.inputs[0]
        m = replace(note.step.affine, nonneg=self._nonneg[source])
        if note.step.kind == "norm" and source in self._makers and self._users[source] == 1:
            self._folds[source] = (m.w, m.b, m.z, self._relu_follows(note.output, keeps))
            return (relevance,), keeps
        if note.output in self._folds:
            k, shift, z, relu = self._folds.pop(note.output)
            m = replace(m.folded(k, shift, z), relu=relu)
        else:
            m.relu = self._relu_follows(note.output, keeps)
        rule = self.composite.rule(self._layer(note))
        return (rule(m, relevance),), rule.keeps_zeros

    def _relu_follows(self, number: int, keeps: bool) -> bool:
        return keeps and self._users[number] == 1 and number in self._relu

    def _layer(self, note: Note) -> Layer:
        return Layer(note.module, note.step.kind, self._rank.get(note.output), len(self._rank))
