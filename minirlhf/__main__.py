"""`python -m minirlhf` is the command `minirlhf`; `accelerate launch -m minirlhf …` needs it."""

from minirlhf.cli import main

main()
