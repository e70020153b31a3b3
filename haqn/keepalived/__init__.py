"""The one keepalived of a host: its configuration, the failover program that it runs, and its life as a daemon."""
