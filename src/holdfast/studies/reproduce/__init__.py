"""Reproduce: the figures of the three papers, as published and as corrected, and a verdict for each claim.

library/    one study per figure: panels of data, networks, treatments, attacks, explanations; and its picture
presets/    what each treatment, attack and explanation means: "published", "corrected"
scales/     how large: "smoke", "laptop", "paper"
claims/     what the papers say about the figures, their numbers, and how it is judged
measures/   one file per kind of study: which cells of computation it is made of, and its tables
"""
