"""From files to one text with places.

    extract     the one door: paths in, `Extracted` out (document.py)
    folder      which files of a folder are read, and why the others are not
    archive     the same for a zip archive
    pdf, text   one reader per kind: bytes in, `FileText` out
    clean       characters that no model or database can hold
"""

from app.extract.document import extract
from app.extract.parts import Extracted, Part, Progress, Skip

__all__ = ["Extracted", "Part", "Progress", "Skip", "extract"]
