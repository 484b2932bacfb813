"""`python -m gnvpro`, which is what `torchrun -m gnvpro` starts."""

from gnvpro.apps.cli import main

main()
