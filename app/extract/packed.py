"""Documents that are a zip of XML files (EPUB, DOCX): their members and trees, within limits."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from urllib.parse import unquote

from lxml import etree

from app.extract.parts import MEGABYTE, Unreadable

TOTAL_LIMIT = 300 * MEGABYTE
"""Bytes of all members read, unpacked."""
MEMBER_LIMIT = 100 * MEGABYTE
RATIO_LIMIT = 200
"""Unpacked bytes for each packed one, asked only of members over a megabyte: small ones reach it honestly."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError, IndexError)
"""zipfile's ways of saying that an archive is broken, packed in a way it does not know, or locked."""


class Package:
    """The members of one such file."""

    def __init__(self, data: bytes) -> None:
        """Raises `Unreadable` if it is no zip file."""
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGE as error:
            raise Unreadable(f"it is broken or cut short: get a whole copy of it ({error})") from error
        self._left = TOTAL_LIMIT
        self.names = frozenset(self._zip.namelist())

    def read(self, name: str) -> bytes:
        """A member's bytes. Raises `Unreadable` if it is missing, damaged or unpacks to too much."""
        if name not in self.names:
            raise Unreadable(f"{name} is missing in it")
        member = self._zip.getinfo(name)
        if member.file_size > MEGABYTE and member.file_size > RATIO_LIMIT * max(member.compress_size, 1):
            raise Unreadable(f"{name} unpacks to over {RATIO_LIMIT} times its size (a zip bomb?)")
        if member.file_size > min(MEMBER_LIMIT, self._left):
            raise Unreadable(f"it unpacks to more than the {TOTAL_LIMIT // MEGABYTE} MB allowed")
        try:
            with self._zip.open(member) as opened:
                data = opened.read(member.file_size + 1)
        except _DAMAGE as error:
            raise Unreadable(f"{name} is damaged in it ({error})") from error
        self._left -= len(data)
        return data

    def tree(self, name: str) -> etree._Element:
        """A member's XML, its entities left alone. Raises `Unreadable`, also if it is no XML."""
        return parse_xml(self.read(name), name)


def parse_xml(data: bytes, name: str) -> etree._Element:
    """A tree of XML. Entities are not resolved and nothing is fetched. Raises `Unreadable` if it is no XML."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True, huge_tree=True,
        recover=True,
    )
    if re.search(rb"<!ENTITY", data[: 64 * 1024]):
        raise Unreadable(f"{name} defines entities of its own (an XML bomb?)")
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise Unreadable(f"{name} in it is no XML ({error.msg})") from error
    if root is None:
        raise Unreadable(f"{name} in it is no XML")
    return root


def beside(base: str, reference: str) -> str:
    """The member that `reference`, found in the member `base`, leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), unquote(reference.split("#")[0]))).lstrip("/")


def local(element: etree._Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
