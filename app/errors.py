"""What can go wrong in the application, each an error of one line that says what to do.

    OncereadError
        SourceError       a file, folder or archive that cannot be taken in
            ScannedSource     a PDF of pictures, which OCR could read
        ReadingStopped    reading was told to stop; what was read is saved
        TemplateError     a report template that is not one
"""

from model.errors import ModelError
from storage.errors import StorageError


class OncereadError(Exception):
    """Something a person can understand and act on; shown as its message alone."""


class SourceError(OncereadError):
    """The input is missing, empty, or cannot be read."""


class ScannedSource(SourceError):
    """A PDF without any text: its pages are pictures, and OCR could read them."""


class ReadingStopped(OncereadError):
    """Reading was told to stop. What was read so far is saved, and reading goes on from there."""


class TemplateError(OncereadError):
    """A report template that cannot be used."""


EXPLAINED = (OncereadError, ModelError, StorageError)
"""Every error whose message is for people, and is all that they are shown."""
