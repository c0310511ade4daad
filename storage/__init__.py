"""Everything Onceread keeps, in one SQLite file.

database       open, create and upgrade the file; sessions; errors in words
schema         the tables
migrations     how an older file becomes the current one
documents      documents, their text, and where each part of it came from
snapshots      saved model states as named, checksummed tensors
conversations  questions and answers about a document
people         who may sign in, and their choices
jobs           background reading, and the cells of reports
errors         what can go wrong
"""
