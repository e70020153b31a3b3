"""The kernel of this host: namespaces, links, addresses, routes, bridges, nftables. Knows nothing of routers."""
