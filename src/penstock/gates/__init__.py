"""Gates look at a step's output and say which part is wrong; healing asks for just those parts again."""
