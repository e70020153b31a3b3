"""Router advertisements of all routers of a host, by one process; see `daemon`.

Standard library only, and nothing of haqn: it runs on while the agent is stopped, upgraded or dead.
"""
