"""Mean ranks over data sets as a line, and bars that join the methods that nothing tells apart (Demsar 2006, figure 1).

The bars are cliques of Wilcoxon's signed rank under Holm, as Benavoli et al. 2016 advise, and not Nemenyi's critical
difference, which depends on who else is in the table; that stands in the caption only.
"""

from collections.abc import Mapping
from math import ceil

from .across_claims import Across
from .svg import Look, Plot, Scale, text_width

LEFT, RIGHT, WIDTH = 190.0, 430.0, 620.0
"""Pixels: the ends of the line, and the whole figure."""
AXIS, STEP = 34.0, 17.0
"""Pixels: of the line from the top, and from one bar or label to the next."""


def rank_diagram(one: Across, styles: Mapping[str, Look], *, prefix: str) -> str | None:
    """The diagram of one budget. None where there are no ranks: below ten data sets, or with gaps."""
    ranks = one.ranks
    if ranks is None:
        return None
    count = len(one.ranked)
    order = sorted(range(count), key=lambda place: ranks.mean_ranks[place])
    labels = AXIS + 16 + STEP * (len(ranks.cliques) * 0.6)
    height = labels + STEP * ceil(count / 2) + 6
    plot = Plot(WIDTH, height, x=Scale(1, max(count, 2), LEFT, RIGHT), y=Scale(0, height, 0, height))
    at = {place: float(plot.x(ranks.mean_ranks[place])) for place in order}
    ticks = "".join(f"M{float(plot.x(rank)):.1f} {AXIS:.1f}v-5" for rank in range(1, count + 1))
    plot.path(f"M{LEFT:.1f} {AXIS:.1f}H{RIGHT:.1f}{ticks}", width=0.8)
    for rank in range(1, count + 1):
        plot.text(float(plot.x(rank)), AXIS - 13, str(rank), anchor="middle")
    plot.text((LEFT + RIGHT) / 2, 8, "mean rank, 1 is best", anchor="middle")
    for place, index in enumerate(order):
        on_left = place < ceil(count / 2)
        down = labels + STEP * (place if on_left else count - 1 - place)
        name, look = one.ranked[index], styles[one.ranked[index]]
        words = f"{name} {ranks.mean_ranks[index]:.2f}"
        end = LEFT - 8 if on_left else RIGHT + 8
        plot.path(f"M{at[index]:.1f} {AXIS:.1f}V{down:.1f}H{end:.1f}", look, width=1.2)
        plot.marker(ranks.mean_ranks[index], AXIS, look, size=7)
        room = LEFT - 14 if on_left else WIDTH - RIGHT - 14
        plot.text(end + (-4 if on_left else 4), down, _fitted(words, room), look, anchor="end" if on_left else "start")
    for row, clique in enumerate(ranks.cliques):
        ends = [at[index] for index in clique]
        down = AXIS + 9 + row * STEP * 0.6
        plot.path(f"M{min(ends) - 3:.1f} {down:.1f}H{max(ends) + 3:.1f}", width=3.5)
    joined = "; ".join(", ".join(one.ranked[index] for index in clique) for clique in ranks.cliques)
    return plot.svg(
        prefix=prefix,
        title=f"Mean ranks over {ranks.n} data sets, {one.budget}",
        description=f"Best mean rank: {one.ranked[order[0]]}. Not told apart: {joined or 'none, every pair differs'}.",
    )


def _fitted(words: str, room: float) -> str:
    """Words without what is too long for the room, which then end in an ellipsis."""
    if text_width(words) <= room:
        return words
    name, _, rank = words.rpartition(" ")
    while name and text_width(f"{name}… {rank}") > room:
        name = name[:-1]
    return f"{name}… {rank}"
