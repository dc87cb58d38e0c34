"""Load profiles kept complete: what is lacking, who is asked for it, and what can never come."""
