"""What Onceread does, for the command line and the page alike.

`home` opens the data folder and the model; `library` takes documents in; `reading` reads them into saved state;
`session` answers questions from it; `reports` asks many questions of many documents; `worker` reads in the background;
`cli` is the command line. `prompts` holds every word sent to the model; `states` is the one place where model state
meets storage.
"""

import model  # noqa: F401 - before torch: see there
