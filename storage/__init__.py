"""Everything Onceread keeps: in one SQLite file, or in a PostgreSQL database.

database       open, create and upgrade the library; sessions
sqlite, postgres  what is different about each: connections, locks, errors in words
schema         the tables
migrations     how an older library becomes the current one
documents      documents, their text, and where each part of it came from
snapshots      saved model states, shared by texts that begin alike; room for new ones
blocks, tensors, seals  their rows: pages and ends of states, tensors in them, checksums over both
integrity      whether all is as it was saved
leases         who is at work on what
conversations, composed  questions and answers about a document, or about several
people         who may sign in, and their choices
jobs           background reading, and the cells of reports
errors         what can go wrong
"""
