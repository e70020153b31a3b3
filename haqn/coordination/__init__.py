"""etcd: connections, sessions, informers, election. The only importer of the etcd client."""
