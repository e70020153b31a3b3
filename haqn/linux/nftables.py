"""nftables rulesets, applied atomically through libnftables (libnftables(3)) in this process.

Knows tables as texts; what is in them is decided by its callers' templates. Every table that is put in place has an
empty chain whose name is a digest of the table's text, so that an unchanged one is recognised after a restart (nft
1.0.6 does not tell comments of tables).
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import threading

from haqn.exceptions import HostError

_JSON_OUTPUT = 1 << 4


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL("libnftables.so.1")
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    library.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
    library.nft_ctx_buffer_output.argtypes = [ctypes.c_void_p]
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_ctx_set_dry_run.argtypes = [ctypes.c_void_p, ctypes.c_bool]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    for name in ("nft_ctx_get_error_buffer", "nft_ctx_get_output_buffer"):
        getattr(library, name).restype = ctypes.c_char_p
        getattr(library, name).argtypes = [ctypes.c_void_p]
    return library


_library: ctypes.CDLL | None = None
# The parser of libnftables keeps global state: one thread at a time.
_lock = threading.Lock()


def run(commands: str, *, check_only: bool = False, as_json: bool = False) -> str:
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
            if as_json:
                _library.nft_ctx_output_set_flags(context, _JSON_OUTPUT)
            status = _library.nft_run_cmd_from_buffer(context, commands.encode())
            errors = _library.nft_ctx_get_error_buffer(context).decode(errors="replace")
            output: str = _library.nft_ctx_get_output_buffer(context).decode(errors="replace")
        finally:
            _library.nft_ctx_free(context)
    if status:
        raise HostError(f"cannot apply nftables commands: {errors.strip().splitlines()[0] if errors else 'refused'}")
    return output


def has_table(family: str, name: str, body: str) -> bool:
    """Whether table `name` was made from `body`, in the namespace that the calling thread is in."""
    listing = json.loads(run(f"list chains {family}", as_json=True) or "{}")
    chains = [item["chain"] for item in listing.get("nftables", []) if "chain" in item]
    return any((chain["table"], chain["name"]) == (name, _mark(body)) for chain in chains)


def _mark(body: str) -> str:
    return "made_from_" + hashlib.blake2b(body.encode(), digest_size=8).hexdigest()


def replace_table(family: str, name: str, body: str, *, fresh: bool = False) -> None:
    """Replace table `name` by one with `body` in a single transaction; NAT mappings live on in conntrack.

    `fresh`: there is no such table yet (deleting one costs milliseconds).
    """
    remove = "" if fresh else f"add table {family} {name}\ndelete table {family} {name}\n"
    run(f"{remove}table {family} {name} {{\n chain {_mark(body)} {{ }}\n{body}\n}}\n")
