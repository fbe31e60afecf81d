"""Nothing is compiled in the background while tests run; `test_special` sees to those kernels."""

from __future__ import annotations

import os

os.environ["RCF_SPECIALISE"] = "0"
