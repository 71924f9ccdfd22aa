"""One run over the fleet, from its options to its report."""
