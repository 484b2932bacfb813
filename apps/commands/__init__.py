"""One file a subcommand: its options beside its `run`."""
