"""`python -m minirlhf.cli` is the command `minirlhf`."""

from minirlhf.cli import main

main()
