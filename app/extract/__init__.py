"""From files to one text with places.

    extract     the one door: paths in, `Extracted` out (document.py)
    folder      which files of a folder are read, and why the others are not; repository: those that git tracks
    archive     the same for zip and tar archives
    codebase    source code: the order of its files, and their index
    reading     one file by its kind: readers finds the kind, sandbox is the process that formats are parsed in
    text, web, epub, word, notebook     one reader a kind: bytes in, `FileText` out; a file with a READER adds one
    paged       PDFs, page by page: with pdf (pypdf) or pdfium (pypdfium2), put in order by columns, made
                tidy by tidy; scans by ocr
    packed, flow, numbering, headings   what several readers need
    clean       characters that no model or database can hold
"""

from app.extract.document import extract
from app.extract.parts import Extracted, Heading, Part, Progress, Skip

__all__ = ["Extracted", "Heading", "Part", "Progress", "Skip", "extract"]
