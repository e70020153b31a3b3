"""How agents even out what they have: one thing at a time, until nobody who gives finds a taker. Pure.

Knows neither what is given nor who may take it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection


def until_even(first: Callable[[Collection[str]], str | None], give: Callable[[str], bool]) -> None:
    """`first`: who is to give next, of those that are not among the given ones; None: nobody has anything left.

    `give` lets an agent give one thing away, and says whether there was a taker. Each thing may be given once.
    """
    stuck: set[str] = set()
    given = False
    while True:
        giver = first(stuck)
        if giver is None:
            if not given:
                return
            # who found no taker may find one now that others have given
            stuck, given = set(), False
        elif give(giver):
            given = True
        else:
            stuck.add(giver)
