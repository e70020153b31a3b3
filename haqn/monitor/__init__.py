"""The leader: observe, plan, apply, project."""
