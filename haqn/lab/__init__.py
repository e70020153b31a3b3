"""A whole cluster on one machine: hosts are namespaces, everything else is real."""
