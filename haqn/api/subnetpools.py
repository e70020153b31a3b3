"""`subnetpools`: there are none, and clients that ask are told so."""

from __future__ import annotations

import falcon

from haqn.api.endpoints import answer
from haqn.exceptions import SubnetPoolNotFound


class SubnetPools:
    """`/v2.0/subnetpools`."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        answer(response, {"subnetpools": []})


class SubnetPool:
    """`/v2.0/subnetpools/{object_id}`."""

    def on_get(self, _request: falcon.Request, _response: falcon.Response, object_id: str) -> None:
        raise SubnetPoolNotFound(subnetpool_id=ascii(object_id[:255])[1:-1])
