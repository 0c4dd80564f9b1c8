"""A compiler for kernels whose arrays lie apart. Importing this imports numba, which takes half a second."""

from typing import Any

from numba.core.compiler import Compiler


class Apart(Compiler):
    """Tells LLVM that no array which a kernel writes overlaps another; numba has that flag for its own use alone.

    LLVM would otherwise compare the addresses of all rows at once before every loop over columns: half the time where
    there are 128 columns, a tenth where there are thousands.
    """

    def __init__(
        self, typingctx: Any, targetctx: Any, library: Any, args: Any, return_type: Any, flags: Any, locals: Any
    ):
        flags.noalias = True
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)
