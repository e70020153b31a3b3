"""haqn-agent: carries out on one host what the leader wants of it, and reports what is.

`desired` and `diff` decide and are pure; `pairs`, `networks`, `routers`, `ports` carry out; `service` is the loop.
"""
