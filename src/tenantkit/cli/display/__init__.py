"""The output of commands: progress, summaries, events and errors."""
