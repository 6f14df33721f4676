"""Numbers and names as a reader should meet them. A number that is not defined is a dash, never a zero."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

DASH = "–"
MINUS = "−"
HYPHEN = "\u2011"  # does not break at the end of a line
NBSP = "\xa0"
THIN = "\u202f"  # narrow no-break space

_ATTACKS = {
    "fgsm": "FGSM", "pgd": "PGD", "bim": "BIM", "random_noise": "random noise", "clean": "clean",
    "pgds": "PGD from several radii", "carlini_wagner": "Carlini-Wagner", "auto_pgd": "AutoPGD",
    "boundary": "nearest boundary", "top_k": "top-k",
}  # fmt: skip
_RULES = {
    "epsilon": "LRP-ε",
    "gamma": "LRP-γ",
    "alpha_beta": "LRP-αβ",
    "zero": "LRP-0",
    "gradient": "gradient",
}
_NORMS = {"linf": "ℓ∞", "l2": "ℓ2"}


def number(value: float, digits: int = 2) -> str:
    """A number with a true minus sign.

    >>> number(-0.051), number(float("nan")), number(-0.001)
    ('−0.05', '–', '0.00')
    """
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:.{digits}f}"
    return text.replace("-", "" if float(text) == 0 else MINUS)


def signed(value: float, digits: int = 2) -> str:
    """A difference, with its sign.

    >>> signed(0.081), signed(-0.081), signed(0.0)
    ('+0.08', '−0.08', '0.00')
    """
    text = number(value, digits)
    return text if text == DASH or text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def interval(low: float, high: float, digits: int = 2) -> str:
    """An interval of differences.

    >>> interval(-0.02, 0.031)
    '[−0.02,\xa0+0.03]'
    """
    return f"[{signed(low, digits)},{NBSP}{signed(high, digits)}]"


def resolution(row: Mapping[str, Any]) -> str:
    """What is to be said of a row of a diagnosis' differences; nothing where the draws resolve it.

    >>> resolution({"resolved": False, "difference_mcse": float("nan")})
    'not resolved: error unknown'
    """
    if row["resolved"]:
        return ""
    return "not resolved" if math.isfinite(row["difference_mcse"]) else "not resolved: error unknown"


def percent(value: float, digits: int = 1) -> str:
    """A share as a percentage.

    >>> percent(0.8912)
    '89.1\u202f%'
    """
    text = number(100 * value, digits) if value is not None else DASH
    return text if text == DASH else f"{text}{THIN}%"


def p_value(p: float) -> str:
    """A p-value, cut at 0.001.

    >>> p_value(1e-9), p_value(0.0312), p_value(float("nan"))
    ('< 0.001', '0.031', '–')
    """
    if p is None or not math.isfinite(p):
        return DASH
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def radius(epsilon: float) -> str:
    """The size of a perturbation; steps of 1/255 are named so.

    >>> radius(0.1), radius(8 / 255), radius(0.0)
    ('0.1', '8/255', '0')
    """
    steps = epsilon * 255
    if 0.5 < steps < 33 and abs(steps - round(steps)) < 1e-4:
        return f"{round(steps)}/255"
    return f"{epsilon:.3g}"


def attack_title(name: str) -> str:
    """What a reader calls an attack."""
    return _ATTACKS.get(name, name.replace("_", " "))


def rule_title(name: str) -> str:
    """What a reader calls an explanation rule."""
    return _RULES.get(name, name.replace("_", " "))


def norm_title(name: str | None) -> str:
    """The sign of a norm; empty where none was named."""
    return _NORMS.get(name or "", name or "")


def the(title: str) -> str:
    """A title inside a sentence; one that is only an adjective is given its noun, and a method's letters no article.

    >>> the("Deep ensemble"), the("MC dropout"), the("Adversarially trained"), the("HMC")
    ('the deep ensemble', 'the MC dropout', 'the adversarially trained network', 'HMC')
    """
    if title.isupper():
        return title
    lowered = title[:1].lower() + title[1:] if title[1:2].islower() else title
    return f"the {lowered} network" if lowered.endswith(("ic", "ed")) else f"the {lowered}"


def listing(items: Iterable[str]) -> str:
    """Items in a sentence.

    >>> listing(["a", "b", "c"]), listing(["a"])
    ('a, b and c', 'a')
    """
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def capital(sentence: str) -> str:
    """The sentence with a capital first letter."""
    return sentence[:1].upper() + sentence[1:]


def short(value: object) -> str:
    """A measured value with four digits; anything else as in `plain`.

    >>> short(0.99837812), short([0.15021, 3.0]), short("yes"), short(-14890.4)
    ('0.9984', '0.1502, 3', 'yes', '−14,890')
    """
    if isinstance(value, list | tuple):
        return ", ".join(map(short, value)) or "none"
    if not isinstance(value, float) or not math.isfinite(value):
        return plain(value)
    return (f"{value:,.0f}" if 10_000 <= abs(value) < 1e9 else f"{value:.4g}").replace("-", MINUS)


def plain(value: object) -> str:
    """Any value of the settings, short: floats without noise, lists with commas, true and false as yes and no.

    >>> plain([0.1, 0.05]), plain(True), plain(None), plain(60000)
    ('0.1, 0.05', 'yes', 'none', '60,000')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", MINUS) if math.isfinite(value) else DASH
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    return str(value)
