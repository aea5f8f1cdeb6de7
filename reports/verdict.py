"""The page's first words: three sentences that say what was found, by whom, and how far it holds."""

from collections import Counter
from collections.abc import Sequence

from .claims import Cell, Claim
from .figures import COST_AXES
from .wording import plural

OUTCOMES = (
    ("better", "a better method"),
    ("worse", "a worse one"),
    ("equivalent", "equivalence"),
    ("too small to matter", "a difference too small to matter"),
)


def sentences(cells: Sequence[Cell]) -> tuple[str, str, str]:
    """What was found of how many comparisons, the best method with its effect and cost, and the scope."""
    claims = [(cell, claim) for cell in cells for claim in cell.claims if claim.competes]
    reference = cells[0].reference
    if not claims:
        return f"No method competes with {reference} here.", "", ""
    return _found(cells, claims), _best(cells, claims), _scope(cells, claims)


def cost_ratio(cell: Cell, method: str) -> str:
    """What a method costs beside the reference: "2.6 × the GFLOPs, 1.4 × the latency"; empty if unknown."""
    if all(entry.method != cell.reference for entry in cell.entries):
        return ""
    mine, base = cell.entry(method), cell.entry(cell.reference)
    words = []
    for axis in COST_AXES[:2]:
        cost, theirs = axis.of(mine), axis.of(base)
        if cost is not None and theirs:
            words.append(f"{cost / theirs:.2g} × the {axis.name}")
    return ", ".join(words)


def _found(cells: Sequence[Cell], claims: list[tuple[Cell, Claim]]) -> str:
    m, words = cells[0].m, Counter(claim.verdict.word for _, claim in claims)
    found = [
        f"{words[word]} {'find' if words[word] > 1 else 'finds'} {phrase}" for word, phrase in OUTCOMES if words[word]
    ]
    undecided = m - sum(words[word] for word, _ in OUTCOMES)
    if undecided:
        found.append(f"{undecided} {'is' if undecided == 1 else 'are'} undecided")
    return f"Of {m} planned {plural(m, 'comparison')} with {cells[0].reference}, {_listed(found)}."


def _best(cells: Sequence[Cell], claims: list[tuple[Cell, Claim]]) -> str:
    reference, better, worse, met = cells[0].reference, Counter[str](), Counter[str](), Counter[str]()
    for _, claim in claims:
        met[claim.method] += 1
        better[claim.method] += claim.verdict.word == "better"
        worse[claim.method] += claim.verdict.word == "worse"
    rivals = list(dict.fromkeys(claim.method for _, claim in claims))
    best = max(rivals, key=lambda name: (better[name], _effect(name, claims)))
    if not better[best]:
        limits = [c.design.detectable_family for _, c in claims if c.design.detectable_family is not None]
        metrics = {cell.metric for cell in cells}
        could = ""
        if limits and len(metrics) == 1:
            low, high = (next(iter(metrics)).difference(end, signed=False) for end in (min(limits), max(limits)))
            could = f"; the comparisons could have found {low if low == high else f'{low} to {high}'}"
        return f"No method is shown to be better than {reference}{could}, which is not evidence that they are equal."
    where = [(cell, claim) for cell, claim in claims if claim.method == best and claim.verdict.word == "better"]
    cell, claim = where[0]
    by = ""
    if claim.comparison.effect is not None and not claim.comparison.failed:
        by = f" by {cell.metric.difference(claim.comparison.effect, signed=False)}"
        by += f" {cell.metric.differences(claim.comparison.interval)}"
    cost = cost_ratio(cell, best)
    cost = f", at {cost.replace(', ', ' and ')}" if cost else ""
    if len(cells) == 1:
        return f"{best} is better{by}{cost}."
    several = len({(one.dataset, one.budget) for one in cells}) < len(cells)
    on = f"{better[best]} of {met[best]} combinations of data set{', budget and metric' if several else ' and budget'}"
    lost = f"; it is worse on {worse[best]}" if worse[best] else ""
    return f"{best} is better than {reference} on {on}, such as{by or ' in more seeds'} on {cell.title}{cost}{lost}."


def _effect(name: str, claims: list[tuple[Cell, Claim]]) -> float:
    """Mean standardised difference; orders methods that win equally often, and is not printed."""
    sizes = [
        c.comparison.effect / c.comparison.spread
        for _, c in claims
        if c.method == name and c.comparison.effect is not None and c.comparison.spread
    ]
    return sum(sizes) / len(sizes) if sizes else 0.0


def _scope(cells: Sequence[Cell], claims: list[tuple[Cell, Claim]]) -> str:
    sizes = [claim.comparison.n for _, claim in claims]
    n = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    what = f"paired {plural(max(sizes), 'seed')}" if cells[0].paired else "seeds a method, not paired: Welch's t"
    if any(cell.splits for cell in cells):
        what += ", with a split for each: corrected resampled t"
    these = "this data set" if len({cell.dataset for cell in cells}) == 1 else "these data sets, each for itself"
    return f"This holds for new seeds on {these} (n = {n} {what}), not for new test examples or other data sets."


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
