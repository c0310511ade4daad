"""Batch reports: a template's questions asked of many documents, every answer saved, every quote checked.

`template` (with `marks` and `schema.json`) reads the questions, `kinds` the answers; `job` knows which cells there are
and answers those that are new, with `cells` for documents, `synthesis` across them, and `generate` to write many
replies at once; `workers` shares cells among processes. `report` gathers what came of it for the files: `markdown`,
`web`, `tables`, `files`. `run` is the whole way; `background` runs jobs beside the page, `cluster` on many machines.
"""
