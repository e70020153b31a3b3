"""nftables rulesets, applied atomically through libnftables (libnftables(3)) in this process.

Knows rulesets as texts; what is in them is decided by its callers' templates.

A ruleset that must be known again is sealed: an empty chain's name says from what text it was made and at which
generation of the namespace's ruleset. Every transaction, whoever makes it, moves the generation on, so that an unbroken
seal says at the cost of two small messages that nobody has changed anything since, across restarts of this process.
"""

from __future__ import annotations

import ctypes
import hashlib
import struct
import threading
from collections.abc import Sequence

from haqn.exceptions import HostError
from haqn.failover import nfnetlink
from haqn.failover.nfnetlink import FAMILY_IPV4, Change, NfTables

_ATTR_CHAIN_TABLE, _ATTR_CHAIN_NAME = 1, 3
#: the name of the tables that a ruleset may consist of, in each family; the seal is in the first one
TABLE = "haqn"
_FAMILIES = ("ip", "ip6")


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL("libnftables.so.1")
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    library.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
    library.nft_ctx_buffer_output.argtypes = [ctypes.c_void_p]
    library.nft_ctx_set_dry_run.argtypes = [ctypes.c_void_p, ctypes.c_bool]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    for name in ("nft_ctx_get_error_buffer", "nft_ctx_get_output_buffer"):
        getattr(library, name).restype = ctypes.c_char_p
        getattr(library, name).argtypes = [ctypes.c_void_p]
    return library


_library: ctypes.CDLL | None = None
# The parser of libnftables keeps global state: one thread at a time.
_lock = threading.Lock()


def run(commands: str, *, check_only: bool = False) -> str:
    """Give nft commands to the kernel in one transaction, in the namespace that the calling thread is in.

    Returns what they print. `check_only` is `nft --check`. Raises HostError with nft's own message.
    """
    global _library  # noqa: PLW0603 - loaded at the first use, so that tools without nftables can import this
    with _lock:
        if _library is None:
            _library = _load()
        context = _library.nft_ctx_new(0)
        try:
            _library.nft_ctx_buffer_error(context)
            _library.nft_ctx_buffer_output(context)
            _library.nft_ctx_set_dry_run(context, check_only)
            status = _library.nft_run_cmd_from_buffer(context, commands.encode())
            errors = _library.nft_ctx_get_error_buffer(context).decode(errors="replace")
            output: str = _library.nft_ctx_get_output_buffer(context).decode(errors="replace")
        finally:
            _library.nft_ctx_free(context)
    if status:
        raise HostError(f"cannot apply nftables commands: {errors.strip().splitlines()[0] if errors else 'refused'}")
    return output


def generation(tables: NfTables) -> int:
    """The number of the namespace's present ruleset."""
    answer = tables.ask(0, nfnetlink.GET_GENERATION)
    if answer is None:
        raise HostError("cannot read the generation of nf_tables")
    number: int = struct.unpack_from(">I", answer, 4)[0]
    return number


def _seal(text: str, at: int) -> str:
    return f"sealed_{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}_{at}"


def is_sealed(tables: NfTables, text: str) -> bool:
    """Whether the namespace's ruleset was made from `text`, and is as it was made."""
    chain = nfnetlink.text(_ATTR_CHAIN_TABLE, TABLE)
    chain += nfnetlink.text(_ATTR_CHAIN_NAME, _seal(text, generation(tables)))
    return tables.ask(FAMILY_IPV4, nfnetlink.GET_CHAIN, chain) is not None


def replace_ruleset(tables: NfTables, text: str, more: Sequence[Change] = (), *, fresh: bool = False) -> None:
    """Replace the namespace's tables of that name by `text` in a single transaction, and add `more`, what nft has no
    words for, in another one right afterwards. Connections live on in conntrack, and tables of others stay. `fresh`:
    there is none yet (deleting what is not there costs milliseconds).
    """
    sealed_at = generation(tables) + (2 if more else 1)
    remove = "".join(f"add table {family} {TABLE}\ndelete table {family} {TABLE}\n" for family in _FAMILIES)
    run(f"{'' if fresh else remove}{text}\nadd chain ip {TABLE} {_seal(text, sealed_at)}\n")
    if more:
        try:
            tables.transact(list(more))
        except OSError as error:
            raise HostError(f"cannot add rules: {error}") from error


def change_ruleset(tables: NfTables, before: str, after: str, commands: str) -> None:
    """Make the ruleset that is sealed as `before` by `commands` into what `after` would make, in one transaction."""
    now = generation(tables)
    run(f"{commands}\ndelete chain ip {TABLE} {_seal(before, now)}\nadd chain ip {TABLE} {_seal(after, now + 1)}\n")
