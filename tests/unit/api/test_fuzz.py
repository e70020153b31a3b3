"""No method, path, query, header or body ever gives a 5xx: everything that is served, on SQLite."""

from __future__ import annotations

import pytest

from tests.unit.api import fuzz

TEMPLATES = fuzz.templates()
#: requests of each method to each path
EXAMPLES = 8
#: part of a method's paths that answer at least one of them with what was asked for: a fuzz of refusals tells nothing
REACHED = {"GET": 0.8, "POST": 0.5, "PUT": 0.6, "DELETE": 0.4}


@pytest.fixture
def ids(api, add_agent, bind):
    return fuzz.populate(api, add_agent, bind)


# half a minute of a processor, which others may want, too
@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", TEMPLATES)
def test_no_input_is_an_error_of_the_server(api, ids, method):
    templates = sorted(TEMPLATES[method], key=len, reverse=method == "DELETE")  # what is in an object goes before it
    if method == "DELETE":
        ids |= fuzz.lonely(api)
    statuses = {each: fuzz.explore(api, ids, method, each, examples=EXAMPLES) for each in templates}
    refused = {template: found for template, found in statuses.items() if min(found) >= 300}
    assert len(refused) <= (1 - REACHED[method]) * len(templates), refused
