# Completion of propromo-chat in fish: the program knows its commands itself.
propromo-chat completions fish | source
