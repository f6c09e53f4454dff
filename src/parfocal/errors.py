"""What goes wrong, said in one line: what, where, and what was expected.

Every error that a user can cause or meet derives from :class:`ParfocalError`. The command line prints its
message alone and exits with code 2; the traceback is for ``--debug``.
"""

from __future__ import annotations


class ParfocalError(Exception):
    """Base of every error whose message is meant for the person at the microscope."""


class BadInputError(ParfocalError, ValueError):
    """A file, option or value that cannot be used; the message says what, where and what was expected."""


class HardwareError(ParfocalError, RuntimeError):
    """A device did not do what it was told: no frame, a stalled stage, a limit."""


class CatalogError(ParfocalError, RuntimeError):
    """The catalog cannot be started, reached, read or written."""
