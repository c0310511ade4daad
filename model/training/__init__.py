"""How `mini` was made: `python -m model.training STEP` (see `__main__`).

teacher -> convert -> distill (align, then KL on whole vocabularies) -> tune (questions) -> export -> evaluate.
Nothing here is needed to run a model.
Letters: T tokens packed in one row, C hidden, H heads, D head size, V vocabulary.
"""
