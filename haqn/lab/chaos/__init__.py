"""Random faults in a lab while traffic flows, and whether the invariants of DESIGN.md hold, seen from outside.

`script` says what goes wrong when (pure, by a seed), `promise` what must hold all the same (pure, by the faults in
force), `inflict` does it to the lab. The others look: `gates` and `frames` at kernels and wires, `timeline` (pure) at
both together, `traffic` at packets, `writes` and `ledger` (pure) at what the API has answered, `witness` at SQL, etcd
and the API. `world` is what it is played in, `engine` plays a script, `run` is the whole of it.
"""
