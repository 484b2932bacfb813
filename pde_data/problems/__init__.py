"""What a problem is, how one is found by name, and how a block of samples is solved."""
