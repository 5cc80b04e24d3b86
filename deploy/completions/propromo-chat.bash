# Completion of propromo-chat in bash: the program knows its commands itself.
eval "$(propromo-chat completions bash)"
