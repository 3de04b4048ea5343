"""The process that ``millrace-worker --python`` keeps: it loads a module and runs its tasks, one at a time."""
