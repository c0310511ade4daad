"""What each command of the command line does: call an app function, and show what came of it.

`reading` (read, estimate), `asking` (ask), `talking` (conversation), `glancing` (outline, summary), `documents` (list,
show, remove), `moving` (export, import), `reporting` (report), `service` (serve, check, model). Each module's
`register` adds its commands and their arguments; a command takes the
home, the parsed options and a stop flag, and returns (the JSON object, the text for people, the exit code).
`words` says sizes, times and places in words; `outcome` holds the types.
"""
