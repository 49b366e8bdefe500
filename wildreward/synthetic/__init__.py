"""Conversations made up by a program, in WildChat-1M's schema, with the true feedback levels kept apart.

    python -m wildreward.synthetic --output runs/synthetic --conversations 600 --seed 0

What makes the level of a turn is the quality of the reply it answers: a reply is built at one of five grades, the
user's next message is drawn from a distribution over levels that depends on the grade, and only then worded. Lengths
are drawn before the grade, so that they say nothing about it.
"""
