"""What a run leaves behind, written and read: facts, journals, marks, rows, the result."""
