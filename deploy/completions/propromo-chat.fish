# Completes propromo-chat in fish; the program itself knows its commands.
propromo-chat completions fish | source
