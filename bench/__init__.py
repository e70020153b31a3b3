"""Measurements against the project's goals, side by side with a reference where there is one."""
