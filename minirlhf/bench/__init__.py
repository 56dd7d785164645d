"""How fast is our PPO iteration, and how fast could it be? See `minirlhf bench`."""
