"""holdfast: do a network's explanations hold under attack, and does a Bayesian treatment make them hold?"""

__version__ = "0.1.0"
