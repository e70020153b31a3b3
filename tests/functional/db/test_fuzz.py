"""The fuzz of the API on the servers: they refuse what SQLite takes, and each does so in its own way."""

from __future__ import annotations

import pytest

from tests.unit.api import fuzz

TEMPLATES = fuzz.templates()
#: requests of each method to each path
EXAMPLES = 5


# half a minute of a processor, which others may want, too
@pytest.mark.timeout(600)
def test_no_input_is_an_error_of_the_server(api, add_agent, bind):
    ids = fuzz.populate(api, add_agent, bind)
    for method in ("GET", "POST", "PUT"):
        for template in TEMPLATES[method]:
            fuzz.explore(api, ids, method, template, examples=EXAMPLES)
    ids |= fuzz.lonely(api)
    for template in sorted(TEMPLATES["DELETE"], key=len, reverse=True):
        fuzz.explore(api, ids, "DELETE", template, examples=EXAMPLES)
