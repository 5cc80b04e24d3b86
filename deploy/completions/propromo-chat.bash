# Completes propromo-chat in bash; the program itself knows its commands.
eval "$(propromo-chat completions bash)"
