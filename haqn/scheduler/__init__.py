"""Pure decisions: who may host what, and the plan. No I/O, no clock, no randomness."""
