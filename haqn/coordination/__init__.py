"""etcd: connections, sessions, informers, election. The only importer of the etcd client."""

import os

# Before grpc is imported: names are what the host says that they are (nsswitch.conf, so /etc/hosts first). grpc's own
# resolver asks DNS for an IPv6 address even if /etc/hosts has the name, and waits for the answer: without DNS there
# would be no etcd.
os.environ.setdefault("GRPC_DNS_RESOLVER", "native")
