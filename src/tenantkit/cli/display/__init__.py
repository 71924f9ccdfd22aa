"""What commands print: progress, summaries, events and errors."""
