"""Kills, damage, malformed input and threads, each repeated: a few times in the tests, often by `make faults`."""
