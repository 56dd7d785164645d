"""Small made-up worlds in which the truth is known."""
