"""The stand-alone program that keepalived runs: it opens and closes gates and announces routers.

Standard library only, and nothing of haqn outside this folder: it must work with the agent, etcd, SQL
and the API all gone. The agent copies the folder to the run directory (`haqn.keepalived.program`), so
that an upgrade of the package never pulls it from under a running keepalived.
"""
