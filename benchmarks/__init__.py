"""What tenantkit costs, measured beside what an application would do without it. Run ``make bench``."""
