"""Cells: what studies are made of, one kind, one file. `KIND` of each says how it is computed and kept."""
